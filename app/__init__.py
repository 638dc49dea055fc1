"""The leads service, in floors. A module imports only from floors below its own.

doors       asgi, worker, __main__ (and its commands)   what is started
http        the GraphQL endpoint, who asks, pages       a request in, bytes out
schema      the graph's types, the planner              (the folder beside this one)
actions     what one may do; the only code that writes  a file a noun
tables      tables, column_types, database              rows and transactions
rules       e-mail addresses, scoring, matching, files  pure functions
errors      errors, settings, ui                        what everybody may know
"""
