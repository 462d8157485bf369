"""The room server: signalling sockets, rooms, tokens, the HTTP API, webhooks and agent dispatch.

```python
async with Server(host="127.0.0.1", port=0, keys={"devkey": "a secret of at least 32 characters"}) as server:
    print(server.url, server.token("ada", "lobby"))
```
"""

from greenroom.server.config import load_options
from greenroom.server.options import ServerOptions
from greenroom.server.server import LiveRoom, Server

__all__ = ["LiveRoom", "Server", "ServerOptions", "load_options"]
