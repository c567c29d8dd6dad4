"""Mint a key that is stored nowhere, sign with it, and verify the signature and the agents' receipts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from evanesce import Client, QuorumError, Token, verify
from evanesce.testbed import EmbeddedQuorum


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("agent-1", "agent-2", "agent-3")
        with EmbeddedQuorum(folder / "agents", names) as quorum:
            home = quorum.admit("me", folder / "home")
            quorum.start()

            with Client(home) as client:
                token = client.create("payments", ["ed25519"], quorum="2 of (agent-1, agent-2, agent-3)")
                token.save(folder / "payments.regen")
                print(f"minted {token.id}, {len(token.encode())} public bytes")

                signature = client.sign(token, b"pay 100 to alice")
                print(f"signed: {signature.value.hex()}")
                for receipt in signature.receipts:
                    entry = receipt.verify()
                    print(f"  agent {receipt.agent[:16]} wrote: {entry['verb']} for {entry['caller_name']}")

                quorum.stop(["agent-1"])
                client.sign(token, b"pay 200 to bob")
                print("signed again with an agent down")

                quorum.stop(["agent-2"])
                try:
                    client.sign(token, b"pay 300 to carol")
                except QuorumError as refused:
                    print(refused)

        # No quorum, no network: the token's id is all that has to be known.
        public = Token.load(folder / "payments.regen", pin=token.id)
        verify(public, b"pay 100 to alice", signature)
        print("verified offline")


if __name__ == "__main__":
    main()
