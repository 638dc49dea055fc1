"""The leads service, in floors. A module imports only from floors below its own.

doors       asgi, worker, lane_worker, webhook_sender   what is started, and what runs for as long as it does
            __main__ and its commands                   the command line
http        the GraphQL endpoint, who asks, pages       a request in, bytes out
schema      the graph's types, the planner              (the folder beside this one)
actions     what one may do; the only code that writes  a file a noun
migrations  from an older version's tables to these     Alembic
tables      tables, lane_tables, column_types           every table, on two pages
            search_index                                what of a lead's words a search may ask for
            database, database_errors, wakeups          transactions, what fails, who hears of a commit
            readers, sqlite_readers, postgres_readers   raw connections that read; look_ups: those that share a statement
rules       e-mail addresses, scoring, matching, files  pure functions
errors      errors, settings, logs, deadlines, turns    what everybody may know, and ui
"""
