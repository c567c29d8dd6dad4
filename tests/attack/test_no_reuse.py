"""With every grant, approval, proof and order that two corrupt agents were shown, spent or not: no operation at an
honest agent, no order in another's name, nothing thawed, and nothing done more often than was said."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import cbor2
import pytest
from attacked import Attack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from independent import th
from loot import key_in
from machines import PATIENCE
from papers import COUNT, Papers, written
from rogue import Shown
from speaking import Session, altered, encode, spki
from wire import TurnedAway, Way

from evanesce import Client, _core

Opening = dict[str, Any]


@pytest.fixture(scope="module")
def papers(attack: Attack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Papers]:
    with written(attack, tmp_path_factory.mktemp("papers")) as papers:
        yield papers


def done(papers: Papers) -> list[dict[str, Any]]:
    """Every entry of an honest agent's log by which something was permitted."""
    found = []
    with Client(papers.attack.caller.home) as client:
        wanted = {status.name: status.report["entries"] for status in client.status() if status.report is not None}
    for agent in papers.attack.honest:
        deadline = time.monotonic() + PATIENCE
        # What covers the newest of them is on the disk a little after they are.
        while (log := _core.Log.open(str(agent.folder))).size < wanted[agent.name]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        entries, count = log.search(code="done")
        assert len(entries) == count
        found += [entry for _, _, entry in entries]
    return found


def honestly(papers: Papers, error: dict[str, Any]) -> list[str]:
    """What honest agents said, of whom no more are waited for than it takes."""
    names = {agent.name for agent in papers.attack.honest}
    return [culprit["detail"] for culprit in error["culprits"] if culprit["holder"] in names]


def test_the_papers_are_what_agents_are_shown(papers: Papers) -> None:
    """The attacker reads them in the clear, so that what follows is not about sealed bytes."""
    everything = [shown.evidence for shown in papers.shown]
    assert any(evidence["proof"] for evidence in everything)
    assert any(evidence["approvals"] for evidence in everything) and any(evidence["grants"] for evidence in everything)
    approved = next(evidence for evidence in everything if evidence["approvals"])["approvals"][0]
    (unspent,) = papers.unspent
    assert set(cbor2.loads(approved)) == set(cbor2.loads(unspent)) == {"approver", "webauthn", "signature", "statement"}
    commands = [cbor2.loads(order["order"])["command"] for order in papers.rogues.each[0].orders]
    assert commands == ["freeze", "thaw", "freeze"]


def test_who_comes_with_an_agents_key_is_not_heard_whatever_it_holds(papers: Papers) -> None:
    before = papers.attack.entries()
    for taken in papers.attack.loot.taken:
        for agent in papers.attack.honest:
            with pytest.raises(TurnedAway), Session(agent.address, bytes.fromhex(agent.id), taken.identity):
                pass
            for path, bodies in (
                ("/v1/order", papers.orders),
                ("/v1/revoke-grant", papers.rogues.each[0].revocations),
                ("/v1/contribute", [{"sealed": bytes(99), "counter": 0, "session": bytes(32)}]),
            ):
                for body in bodies:
                    with Way(agent.address, taken.identity) as way, pytest.raises(TurnedAway) as turned:
                        way.post(path, body)
                    assert turned.value.code in ("unknown-identity", "closed")
    assert papers.attack.entries() == before


def proof(key: Ed25519PrivateKey, requests: list[bytes], named: bytes | None = None) -> bytes:
    """That these requests are this key's; or, with a public key, that they are another's."""
    hashes = [th("request", *requests)]
    return encode({"caller": named or spki(key), "hashes": hashes, "signature": key.sign(th("proof", *hashes))})


def _evidence(proof: bytes | None, grants: Sequence[bytes] = (), approvals: Sequence[bytes] = ()) -> Any:
    found = {"proof": proof, "grants": list(grants), "approvals": list(approvals)}
    return found if any(found.values()) else None


def misused(papers: Papers, session: Session) -> Iterator[tuple[str, dict[str, Any], Opening]]:
    """All that was shown, made into requests of an insider's: context and opening."""
    insider, thief = session.identity, papers.attack.loot.taken[0].identity
    me = th("caller", spki(insider))
    approvals = [*papers.unspent, *{one for shown in papers.shown for one in shown.evidence["approvals"]}]
    for shown in papers.shown:
        had, requests, evidence = shown.evidence, shown.opening["requests"], _evidence

        def asked(evidence: Any, requests: list[bytes], shown: Shown = shown) -> tuple[dict[str, Any], Opening]:
            opening = shown.opening | {"rows": papers.rows(shown), "evidence": evidence, "requests": requests}
            return shown.context, opening

        def anew(requests: list[bytes] = requests, **changes: Any) -> list[bytes]:
            return [altered(request, **changes) for request in requests]

        yield "as it was", shown.context, shown.opening
        here, mine = {"session": session.id}, {"session": session.id, "caller": me}
        for what, changes in (("with a fresh id", {}), ("in this session", here), ("in its own name", mine)):
            yield f"{what}, with what it came with", *asked(shown.opening["evidence"], anew(**changes))
            yield f"{what}, with nothing", *asked(None, anew(**changes))
            for approval in approvals:
                yield f"{what}, with an approval", *asked(evidence(had["proof"], (), [approval]), anew(**changes))
        if had["proof"]:
            clerk = cbor2.loads(had["proof"])["caller"]
            for approved in (had["approvals"], papers.unspent):
                for what, prove in (
                    ("a proof by another key", lambda made, clerk=clerk: proof(thief, made, clerk)),
                    ("the insider's under that name", lambda made, clerk=clerk: proof(insider, made, clerk)),
                    ("the insider's own", lambda made: proof(insider, made)),
                    (
                        "the signature of another",
                        lambda made, old=had["proof"]: _with(old, hashes=[th("request", *made)]),
                    ),
                ):
                    made = anew(**here)
                    yield what, *asked(evidence(prove(made), (), approved), made)
                    made = anew(**mine)
                    yield f"{what}, in its own name", *asked(evidence(prove(made), (), approved), made)
            for approval in approvals:
                for what, other in _approvals(approval, me, thief):
                    yield what, *asked(evidence(None, (), [other]), anew(**mine))
        for grant in had["grants"]:
            for what, chain in _grants(grant, me, thief, insider):
                yield what, *asked(evidence(None, chain), anew(**mine))


def _with(encoded: bytes, **changes: Any) -> bytes:
    return encode(cbor2.loads(encoded) | changes)


def _approvals(approval: bytes, me: bytes, thief: Ed25519PrivateKey) -> Iterator[tuple[str, bytes]]:
    """What an approval can be made into without the approver's key."""
    statement = cbor2.loads(approval)["statement"]
    text = cbor2.loads(statement)["text"].replace(cbor2.loads(statement)["caller"].hex(), me.hex())
    other = _with(statement, caller=me, text=text, nonce=os.urandom(16), expires=int(time.time()) + 600)
    yield "an approval of another caller's", _with(approval, statement=other)
    signature = thief.sign(th("approval", other))
    yield "an approval by another key under that name", _with(approval, statement=other, signature=signature)
    yield "an approval by somebody else", _with(approval, statement=other, signature=signature, approver=spki(thief))


def _grants(
    grant: bytes, me: bytes, thief: Ed25519PrivateKey, insider: Ed25519PrivateKey
) -> Iterator[tuple[str, list[bytes]]]:
    """What a grant can be made into without its grantor's key."""
    fields = cbor2.loads(cbor2.loads(grant)["grant"])
    yield "a grant of another's", [grant]
    for name, value in (
        ("delegate", me),
        ("count", None),
        ("bounds", []),
        ("expires", fields["expires"] + 9999),
        ("further", 1),
    ):
        wide = encode(fields | {"delegate": me, name: value})
        yield f"another {name}", [_with(grant, grant=wide)]
        yield f"another {name}, signed by another", [_with(grant, grant=wide, signature=thief.sign(th("grant", wide)))]
        own = encode(fields | {"delegate": me, "grantor": th("caller", spki(insider)), name: value})
        signed = {"spki": spki(insider), "grant": own, "signature": insider.sign(th("grant", own))}
        yield f"its own, another {name}", [encode(signed)]
    for key in (thief, insider):
        grantor = th("caller", spki(key))
        further = encode(
            fields | {"parent": th("grant", cbor2.loads(grant)["grant"]), "grantor": grantor, "delegate": me}
        )
        passed = encode({"spki": spki(key), "grant": further, "signature": key.sign(th("grant", further))})
        yield "passed on by another", [grant, passed]


def test_nothing_that_was_shown_opens_anything_for_whoever_holds_it(papers: Papers) -> None:
    """Not even for somebody whom every agent knows, as a caller and as a reconstructor."""
    before, tried, reasons = done(papers), 0, Counter[str]()
    for session in papers.sessions():
        for what, context, opening in misused(papers, session):
            tried += 1
            answer = session.ask(context, opening)
            assert answer["code"] in ("refused", "replayed"), (what, answer)
            assert answer["seats"] == [], what
            reasons[answer["reason"][:60]] += 1
    assert tried > 3 * 100
    assert [entry for entry in done(papers) if entry not in before] == []
    # For many reasons, each its own: not all of it stopped at the first thing that was wrong.
    assert len(reasons) > 10, reasons


def test_the_same_words_are_heard_from_whom_they_are_of(papers: Papers) -> None:
    """Made by the same hands: so that what was refused was not refused for how it was said."""
    shown = next(shown for shown in papers.shown if shown.evidence["grants"])
    agent, key = papers.attack.honest[0], key_in(papers.bot.home / "identity.key")
    salt = os.urandom(32)
    for amount, code in ((1, "done"), (101, "refused")):
        payload = b'{"amount":%d}' % amount
        with Session(agent.address, bytes.fromhex(agent.id), key) as session:
            asked = altered(
                shown.opening["requests"][0],
                session=session.id,
                payload=payload,
                input=th("input", salt, b"sign", b"ed25519", payload),
            )
            opening = shown.opening | {"rows": papers.rows(shown), "requests": [asked], "salts": [salt]}
            answer = session.ask(shown.context, opening)
        assert answer["code"] == code, answer
        released = [seat for seat in answer["seats"] if seat["sealed"]]
        assert len(released) == (code == "done"), "its own seat, and no other's"


def ordered(papers: Papers) -> list[dict[str, Any]]:
    """Orders and revocations that nobody gave, made of those that somebody did."""
    freeze, thaw, again = papers.rogues.each[0].orders
    live = next(shown for shown in papers.shown if shown.evidence["grants"])
    words = [thaw, _with_order(again, command="thaw"), _with_order(thaw, issued=int(time.time() * 1000))]
    words.append(thaw | {"order": _with(thaw["order"], nonce=os.urandom(16), issued=int(time.time() * 1000))})
    thieves = [*(taken.identity for taken in papers.attack.loot.taken), key_in(papers.insider.home / "identity.key")]
    for thief in thieves:
        for command, context, token in (
            ("thaw", again["context"], cbor2.loads(again["order"])["token"]),
            ("revoke", live.context, cbor2.loads(live.opening["requests"][0])["token"]),
            ("freeze", live.context, cbor2.loads(live.opening["requests"][0])["token"]),
        ):
            now = int(time.time() * 1000)
            order = {"v": 1, "nonce": os.urandom(16), "token": token, "issued": now, "command": command}
            for caller, key in ((cbor2.loads(freeze["order"])["caller"], freeze["spki"]), (None, spki(thief))):
                signed = encode(order | {"caller": caller or th("caller", key), "nonce": os.urandom(16)})
                signature = thief.sign(th("order", signed))
                words.append({"spki": key, "order": signed, "context": context, "signature": signature})
        grant = live.evidence["grants"][0]
        end = th("revoke-grant", th("grant", cbor2.loads(grant)["grant"]))
        words.append({"grant": grant, "signature": thief.sign(end)})
    return words


def _with_order(signed: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return signed | {"order": _with(signed["order"], **changes)}


def test_no_order_in_anothers_name_is_obeyed_and_nothing_frozen_is_thawed(papers: Papers) -> None:
    """Neither when an insider brings them, nor when both corrupt agents hand them on as the peers that they are."""
    words, before = ordered(papers), done(papers)
    insider = key_in(papers.insider.home / "identity.key")
    for agent in papers.attack.honest:
        for word in words:
            with Way(agent.address, insider) as way:
                path = "/v1/order" if "order" in word else "/v1/revoke-grant"
                try:
                    obeyed = way.post(path, word)
                    assert obeyed["code"] in ("refused", "malformed", "replayed"), (words.index(word), obeyed, word)
                except TurnedAway as e:
                    assert e.code in ("malformed", "role", "unavailable"), word
            time.sleep(0.06)
    # The first is on their disks, and is not asked for.
    papers.rogues.hand_on(words[1:], len(papers.attack.honest))
    assert [entry for entry in done(papers) if entry not in before] == []
    refused = papers.attack.caller.fail(1, "quorum-not-met", "sign", papers.frozen, "-m", "x").error
    details = honestly(papers, refused)
    assert details and all("frozen" in detail for detail in details), refused
    assert papers.pay(1), "the grant and its token are as they were"


def test_an_order_that_its_signer_gave_is_obeyed_on_the_same_way(papers: Papers) -> None:
    """So that what was refused was refused for what it is."""
    caller = key_in(papers.attack.caller.home / "identity.key")
    last = papers.rogues.each[0].orders[-1]
    order = _with(last["order"], command="thaw", nonce=os.urandom(16), issued=int(time.time() * 1000))
    given = last | {"order": order, "signature": caller.sign(th("order", order))}
    papers.rogues.tell([given])
    deadline = time.monotonic() + PATIENCE
    while papers.attack.caller.try_("sign", papers.frozen, "-m", "x").status != 0:
        assert time.monotonic() < deadline
    papers.attack.caller.try_("key", "freeze", papers.frozen)


def test_no_honest_agent_permits_more_than_was_granted_or_one_approval_twice(papers: Papers) -> None:
    """With the delegate, and the caller who was approved, on the attackers' side."""
    assert sum(papers.pay(amount) for amount in (1, 2, 3, 4)) <= COUNT
    clerk = papers.clerk
    words = ("--folder", papers.shared, "--out", clerk.home / "signature")
    clerk.run("wait", papers.waiting, *words)
    again = clerk.fail(1, "quorum-not-met", "wait", papers.waiting, *words, "--force", "--timeout", "0").error
    details = honestly(papers, again)
    assert details and all("spent before" in detail for detail in details), again
    grants, approvals = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for entry in done(papers):
        grants.update((entry["agent"], grant) for grant in entry["grants"] or ())
        approvals.update((entry["agent"], approval["id"]) for approval in entry["approvals"] or ())
    assert grants and max(grants.values()) <= COUNT, grants
    assert approvals and max(approvals.values()) == 1, approvals
