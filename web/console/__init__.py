"""The console for operators: server-rendered, an ASGI app of its own under /console."""
