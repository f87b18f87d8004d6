"""The command, carried out in this process."""

from redense.commands.main import main


def call(arguments, capsys):
    """Run the command in this process; return exit status, standard output and standard error."""
    status = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err
