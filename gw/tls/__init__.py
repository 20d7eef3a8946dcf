"""TLS as the configuration describes it: contexts for the lane, what certificates say, ticket keys. gw.tls.jwk reads the keys of tokens."""

from gw.tls.certificates import CertificateInfo, certificate_warnings, inspect
from gw.tls.contexts import client_context, server_context
from gw.tls.tickets import TicketKeys

__all__ = ["CertificateInfo", "TicketKeys", "certificate_warnings", "client_context", "inspect", "server_context"]
