"""The command line, a file a group. `app.__main__` loads the one that is asked for.

serve worker demo migrate       run the service, or bring a database to this version
workspaces keys                 make what a caller needs
imports exports                 files in, files out
documents graph send            a client: run a document, print the schema, send e-mails
databases terminal              what they share: settings and the database; errors of one line, bars
"""
