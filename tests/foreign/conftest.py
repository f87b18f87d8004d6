"""DSD in the training loops of other packages, which `make foreign` installs."""


def _asked_for(config):
    return config.getoption("markexpr") == "foreign"


def pytest_configure(config):
    """What these packages warn of, also while they are imported, is theirs."""
    if _asked_for(config):
        config.addinivalue_line("filterwarnings", "ignore")


def pytest_ignore_collect(config):
    """Without `-m foreign` these files are not even read: what they import may be missing, and takes seconds."""
    return None if _asked_for(config) else True
