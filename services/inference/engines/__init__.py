"""Engines: how each is started, how it shows that it is well, and what its errors mean. One module an engine."""
