"""``python -m redense``: the command line."""

from redense.commands.main import main

if __name__ == "__main__":
    main()
