"""DSD in the training loops of other packages, which `make foreign` installs."""


def pytest_ignore_collect(config):
    """Without `-m foreign` these files are not even read: what they import may be missing, and takes seconds."""
    return None if config.getoption("markexpr") == "foreign" else True
