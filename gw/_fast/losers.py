"""Why a route did not win: the rules of gw/_fast/radix once more, route by route and in words, for traces only."""

from urllib.parse import unquote_to_bytes

KINDS = {"exact": 0, "prefix": 1, "regex": 2}


class Question:
    """A target in Python's terms, and why a route does not take it."""

    def __init__(self, method, host, path, query, headers):
        self.method = method
        self.host = host
        self.path = path
        self.labels = path[1:].split(b"/")
        self.query = {}
        for item in query.split(b"&") if query else ():
            name, _, value = item.partition(b"=")
            self.query.setdefault(unquote_to_bytes(name.replace(b"+", b" ")), [unquote_to_bytes(value.replace(b"+", b" "))])
        self.headers = {}
        for name, value in headers:
            self.headers.setdefault(name.lower(), []).append(value)

    def host_rank(self, pattern):
        """Lower is better; None when the host is another one."""
        host = self.host.decode("latin-1")
        if not pattern:
            return (2, 0)
        if pattern.startswith("*"):
            return (1, -len(pattern)) if host.endswith(pattern[1:]) and len(host) >= len(pattern) else None
        return (0, 0) if host == pattern else None

    def best_host(self, route):
        ranks = [rank for rank in map(self.host_rank, route.hosts or ("",)) if rank is not None]
        return min(ranks) if ranks else None

    def takes_path(self, route):
        if route.kind == "regex":
            return route.regex.match(self.path)
        taken = len(route.segments)
        there = len(self.labels)
        if there < taken + route.below or (route.kind == "exact" and there != taken):
            return False
        return all(given != b"" if label is None else unquote_to_bytes(given) == label for label, given in zip(route.segments, self.labels, strict=False))

    def refusal(self, route):
        if self.best_host(route) is None:
            return f"host {_shown(self.host)} is not {', '.join(route.hosts)}"
        if not self.takes_path(route):
            return f"path is not {'below' if route.kind == 'prefix' else 'matched by' if route.kind == 'regex' else ''} {route.path}".replace("  ", " ")
        for item in route.headers:
            if not _holds(item, self.headers):
                return _unmet("header", item, self.headers)
        for item in route.query:
            if not _holds(item, self.query):
                return _unmet("query parameter", item, self.query)
        if route.methods and _shown(self.method) not in route.methods:
            return f"method {_shown(self.method)} not in {', '.join(route.methods)}"
        return None


def _shown(text):
    return text.decode("ascii", "backslashreplace")


def _holds(item, given):
    name, op, value, regex = item
    values = given.get(name.encode(), [])
    if op == "eq":
        return value.encode() in values
    if op == "regex":
        return any(regex.match(one) for one in values)
    return bool(values) == (op == "present")


def _unmet(what, item, given):
    name, op, value, _ = item
    if op == "absent":
        return f"{what} {name} is present"
    if name.encode() not in given:
        return f"{what} {name} is absent"
    return f"{what} {name} {'does not match' if op == 'regex' else 'is not'} {value}"


def _path_rank(route, first_of_expression):
    if route.kind == "regex":
        return (0, first_of_expression[route.path])
    return (-2 * len(route.segments) - route.below if route.kind == "prefix" else 0, tuple(label is None for label in route.segments))


def _rank(question, route, position, first_of_expression):
    return (question.best_host(route), KINDS[route.kind], _path_rank(route, first_of_expression), *route.merit, position)


def _defeat(rank, best, winner):
    """Why a route that takes the request stands behind the winner."""
    if rank[0] != best[0]:
        return f"host is narrower in route {winner}"
    if rank[1] != best[1]:
        return f"path is {'exact' if best[1] == 0 else 'no regex'} in route {winner}"
    if rank[2] != best[2]:
        if rank[1] == 2:
            return f"the expression of route {winner} stands before"
        return f"path is longer in route {winner}" if rank[2][0] != best[2][0] else f"path names a segment in route {winner} that is a parameter here"
    reasons = ("names no method, route {} does", "fewer header matches than route {}", "fewer query matches than route {}", "stands after route {}")
    return next(text.format(winner) for text, mine, its in zip(reasons, rank[3:], best[3:], strict=True) if mine != its)


def explain(routes, question, winner, trace):
    """Tell trace why each route lost, then who won; the winner found by the tree must also be the best one by rank."""
    first_of_expression = {}
    ranks = {}
    for position, route in enumerate(routes):
        if route.kind == "regex" and question.best_host(route) is not None:
            first_of_expression.setdefault(route.path, position)
    for position, route in enumerate(routes):
        reason = question.refusal(route)
        if reason is None:
            ranks[position] = _rank(question, route, position, first_of_expression)
        else:
            trace(route.index, reason)
    if not ranks:
        assert winner < 0
        return
    best = min(ranks, key=ranks.get)
    assert routes[best].index == winner, (winner, ranks)
    for position, rank in ranks.items():
        if position != best:
            trace(routes[position].index, _defeat(rank, ranks[best], winner))
    trace(winner, "wins")
