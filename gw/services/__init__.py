"""Where the endpoints of services are: names in `endpoints` and the addresses behind them.

`discovery` keeps names resolved and says what has changed; `resolver` asks /etc/hosts and the name servers. Choosing among endpoints
is not here: that is the data plane's (`gw._fast.pick`).
"""

from gw.services.discovery import Discovery, NameState, named_endpoints
from gw.services.resolver import Answer, SystemResolver

__all__ = ["Answer", "Discovery", "NameState", "SystemResolver", "named_endpoints"]
