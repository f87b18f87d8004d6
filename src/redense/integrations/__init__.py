"""DSD inside training frameworks: each file needs its own extra, and the core alone of redense."""
