"""In whose name, and with whose approval, each token of a drill is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evanesce import Check, Client, EvanesceError, Token
from evanesce._requests import Kept, Requests, asked_here
from evanesce._text import printable
from evanesce.cli._app import App
from evanesce.cli.identity import own_id
from evanesce.errors import error
from evanesce.grant import Grant


@dataclass(frozen=True, slots=True)
class Ways:
    """Grants and approved requests by the id of the token that they are for."""

    grants: Mapping[str, Grant]
    requests: Mapping[str, Kept]

    @classmethod
    def of(cls, app: App, files: Sequence[Path], grants: Sequence[str], approved: Requests | None) -> Ways:
        """Raises `grant-invalid` for a grant of a token that is not drilled: it would be left out unseen."""
        given: dict[str, Grant] = {}
        ids = _ids(files) if grants else frozenset()
        for name in grants:
            grant = Grant.load(name)
            if grant.token not in ids or grant.token in given:
                why = "another grant is given for it" if grant.token in given else "it is none of those drilled"
                raise error(
                    "grant-invalid",
                    f"the grant {printable(name)} is for the token {grant.token}: {why}",
                    "Give one grant for each token that is to be opened under one.",
                )
            given[grant.token] = grant
        return cls(given, {} if approved is None else _approved(app, approved))

    @contextlib.contextmanager
    def clients(self, app: App, deadline: int | None) -> Iterator[Mapping[str | None, Client]]:
        """A client for each token that is opened under a grant, and under None one for all others."""
        with contextlib.ExitStack() as stack:
            found: dict[str | None, Client] = {None: stack.enter_context(app.client(deadline))}
            for token, grant in self.grants.items():
                found[token] = stack.enter_context(app.client(deadline, grant))
            yield found

    def check(self, clients: Mapping[str | None, Client], token: Token, opening: bool) -> Check:
        """As `Client.check`, with what people have approved of it."""
        client = clients.get(token.id, clients[None])
        kept = self.requests.get(token.id)
        if not opening or kept is None:
            return client.check(token, open=opening)
        grant = self.grants.get(token.id)
        counting = kept.counting({link.grantor for link in grant.links} if grant is not None else ())
        # Of the rows that its file has now.
        done = client.perform(replace(kept.request, token=token), [one.approval for one in counting])
        assert isinstance(done, Check)
        kept.finish()
        return done


def _ids(files: Sequence[Path]) -> frozenset[str]:
    found = set()
    for path in files:
        # What is no token is said where it is drilled.
        with contextlib.suppress(EvanesceError):
            found.add(Token.load(path).id)
    return frozenset(found)


def _approved(app: App, requests: Requests) -> dict[str, Kept]:
    """The newest request to open each token that this home asked for and that was not done."""
    caller, found = own_id(app), {}
    for kept in requests.all(app.home.root):
        asked = kept.request
        if asked.action == "open" and asked.caller == caller and not kept.done and kept.folder.name == asked.id:
            with contextlib.suppress(EvanesceError):
                if asked_here(asked.id, asked, app.home.root):
                    found[asked.token.id] = kept
    return found
