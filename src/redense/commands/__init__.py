"""The command line, one file a command: arguments and printing; what they do stands below."""
