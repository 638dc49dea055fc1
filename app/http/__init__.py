"""The doors of HTTP: reading a request, who is asking, limits, and the pages.

endpoint        GraphQL over HTTP: a request in, bytes out
  heads bodies requests   its headers, its body, what it says         uploads     its files
  callers         who is asking: an API key, or a token (`tokens`)    rates       how often they may
  persisted       documents that go by name                           retries     a request that was sent before
  checks          a document read, measured by `limits`, validated    deadlines   how long all may take
  root_fields     what mutations need, and do before their transaction
  answers         what goes back, errors included; made smaller by `compression`
sockets         GraphQL over WebSocket                                streams     and as server-sent events
  subscriptions   from a request to its results                       connections how many, and for how long
  live            one read for all that wait for the same
files           downloads: exports, rejected rows
pages           the explorer                                          health      /livez and /readyz
one_write       uvicorn's protocol, each answer in one write        at_once     what is answered without a task
wall            around everything: well-formed requests, masked errors
"""
