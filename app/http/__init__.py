"""The doors of HTTP: reading a request, who is asking, limits, and the pages."""
