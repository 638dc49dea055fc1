"""The command line, a file a group. `app.__main__` loads the one that is asked for."""
