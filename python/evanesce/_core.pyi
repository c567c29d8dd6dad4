"""The boundary to the Rust core. Private: use the package's public names.

No method here takes or returns a secret as a Python object. Keys, PINs and passphrases are named by where
Rust can read them (a path, a descriptor, the terminal); secret results are `Secret` handles on locked memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self, final

from typing_extensions import Buffer

__all__ = [
    "APPROVAL_LIFE",
    "Asked",
    "CoreError",
    "EmbeddedAgent",
    "Hsm",
    "HsmKey",
    "HsmWork",
    "Log",
    "Operation",
    "Outcome",
    "Policy",
    "Receipt",
    "Reconstructor",
    "Renewed",
    "Secret",
    "Token",
    "__version__",
    "approval_challenge",
    "approval_from_assertion",
    "approve",
    "canonical_payload",
    "checkpoint",
    "cosign",
    "cosignature",
    "create_custodian",
    "create_identity",
    "element_create",
    "element_probe",
    "encapsulate",
    "encrypt_to",
    "encrypt_under",
    "grant_read",
    "grant_revoke",
    "grant_sign",
    "hand_over",
    "harden",
    "hsm_kinds",
    "input_digest",
    "key_ids",
    "log_export",
    "log_key",
    "memory_report",
    "parse_quorum",
    "policy_schema",
    "quorum_splits",
    "read_approval",
    "read_header",
    "roll_agent",
    "run_agent",
    "settle_header",
    "show_identity",
    "suites",
    "verify",
    "verify_approval",
    "verify_under",
    "witness_key",
]

__version__: str

APPROVAL_LIFE: int
"""Seconds that an approval is made to last."""

class CoreError(Exception):
    """Raised by everything here. `faults` holds (seat or None, holder name, holder id hex, kind, detail)."""

    code: str
    message: str
    hint: str
    faults: list[tuple[str | None, str, str, str, str]]

@final
class Secret:
    """A secret result in locked memory: never bytes of Python's own."""

    def __len__(self) -> int: ...
    def write_into(self, buffer: Buffer) -> int:
        """Copies into the caller's writable buffer (at least as long); returns the length in bytes."""
    def write_file(self, path: str) -> None:
        """Writes to a new file of mode 0600; an existing file is an error."""
    def write_descriptor(self, descriptor: int) -> None: ...
    def wipe(self) -> None: ...

@final
class Token:
    """A decoded regen token (PROTOCOL §3, §4); immutable."""

    @staticmethod
    def decode(data: bytes) -> Token:
        """From binary or armoured form. Raises CoreError `malformed`."""
    def encode(self) -> bytes: ...
    def armor(self) -> str: ...
    @property
    def id(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def suites(self) -> list[str]: ...
    @property
    def quorum(self) -> str: ...
    def sufficient(self, seats: Sequence[int]) -> bool:
        """Whether these seat numbers are a sufficient set."""
    @property
    def policy(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def expires(self) -> int | None: ...
    @property
    def replaces(self) -> bytes | None: ...
    @property
    def kind(self) -> str:
        """`regen`, `regen-mpc` or `mpc`."""
    @property
    def imported(self) -> bool: ...
    @property
    def public(self) -> dict[str, bytes]: ...
    def margins(
        self, live: Sequence[bool], groupings: Sequence[Sequence[int]]
    ) -> tuple[int, list[tuple[int | None, int | None]]]:
        """The fewest further seats without which nothing opens, `live` saying which are left; and for each grouping
        (a group's number for each seat) the fewest groups without which nothing opens, and the fewest that can open.
        None where none can, or the search would take too long."""
    @property
    def rows(self) -> list[tuple[str, bytes, int]]:
        """(seat, holder id, epoch), one per seat in depth-first order."""

@final
class Receipt:
    """One agent's word on one opening (log entry, Merkle path, checkpoint)."""

    @staticmethod
    def decode(data: bytes) -> Receipt: ...
    def encode(self) -> bytes: ...
    @property
    def agent(self) -> bytes: ...
    @property
    def index(self) -> int: ...
    @property
    def log_key(self) -> bytes: ...
    @property
    def checkpoint(self) -> str: ...
    @property
    def leaf(self) -> bytes:
        """The entry's RFC 6962 leaf hash."""
    def verify(self) -> dict[str, Any]:
        """Checks identity, endorsement, checkpoint and path; returns the log entry. Raises CoreError
        `receipt-invalid`."""
    def entry(self) -> dict[str, Any]:
        """The log entry, not verified. Raises CoreError `receipt-invalid`."""

@final
class Log:
    """An agent's log, exported (C2SP tlog-tiles) or in the agent's own folder, up to its checkpoint; read only."""

    @staticmethod
    def open(folder: str) -> Log:
        """Reads the checkpoint. Raises CoreError `log-invalid` or `io`, as all methods here."""
    @property
    def agent(self) -> bytes: ...
    @property
    def origin(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def root(self) -> bytes: ...
    @property
    def checkpoint(self) -> str: ...
    @property
    def exported(self) -> bool: ...
    def signed_by(self, key: bytes) -> None:
        """Raises unless this Ed25519 key signed the checkpoint as the log's."""
    def since(self, size: int, root: bytes) -> bool:
        """By a proof: whether this log goes on from the tree of this size and root; False where it ends before.
        Raises where it does not begin with it."""
    def holds(self, receipt: Receipt) -> bool:
        """By proofs: whether this log goes on from the receipt's and has its entry; False where it ends before."""
    def search(
        self,
        token: str | None = None,
        caller: str | None = None,
        since: int | None = None,
        until: int | None = None,
        code: str | None = None,
        action: str | None = None,
        limit: int | None = None,
        approver: str | None = None,
    ) -> tuple[list[tuple[int, bytes, dict[str, Any]]], int]:
        """(index, leaf hash, entry) of the entries that fit, and how many fit in all. Ids in hex, times in Unix
        milliseconds, `until` exclusive. Checks the whole log on the way."""

@final
class Outcome:
    """What an operation brought."""

    @property
    def outputs(self) -> list[bytes | Secret | None]:
        """One per job: public bytes, a secret, or None where the answer is that it verified."""
    @property
    def receipts(self) -> list[Receipt]: ...
    @property
    def faults(self) -> list[tuple[str | None, str, str, str, str]]: ...
    @property
    def salts(self) -> list[bytes]:
        """One per job: with the inputs it gives the digest in the agents' log entries (PROTOCOL §6)."""

_Job = tuple[str, str, Buffer, Buffer, int]
"""(suite, action, main input, second input: aad, mac or context, length in bytes for derive). The action may also
be `sign-payload` or `mac-payload`, whose main input is in canonical form and is shown to the agents."""

_Settled = tuple[Sequence[bytes], Sequence[bytes]]
"""What people had to approve: their approvals, and the salt of each job's input digest."""

@final
class Operation:
    """Jobs under one opening, copied from the caller's buffers; to be submitted once."""

    def __new__(
        cls, token: Token, jobs: Sequence[_Job], deadline_ms: int | None = None, settled: _Settled | None = None
    ) -> Self:
        """Raises TypeError or BufferError for what is no suite, buffer or length."""

_Healed = tuple[Token, list[Receipt], list[str], list[tuple[str | None, str, str, str, str]], bytes, CoreError | None]
"""(token, receipts, warnings, faults, salt of the opening's input digest, why the new token was not opened yet)."""

@final
class Renewed:
    """A renewal between its two steps."""

@final
class Reconstructor:
    def __new__(
        cls,
        identity: str,
        holders: Sequence[tuple[str, str, str, str, str]],
        deadline_ms: int | None = None,
        verify_before_release: bool = False,
        service: tuple[str, str, str, str, str] | None = None,
        grants: Sequence[bytes] = ...,
        runtime: Hsm | None = None,
    ) -> Self:
        """`identity`: path of a PKCS#8 PEM key; `holders`: (name, agent id hex, "host:port", site, vendor).
        `deadline_ms` bounds every call as a whole; without it a mint has 10 s and all else 2 s. `service`, of the same
        form: the reconstructor that does this side's operations; this one then only composes and proves them.
        `grants`: a chain, under which operations of its token are asked for. `runtime`: where regenerated keys work."""
    def serving(self) -> dict[str, Any]:
        """What the `service` says of itself."""
    @property
    def caller_id(self) -> bytes: ...
    def run(
        self, token: Token, jobs: Sequence[_Job], deadline_ms: int | None = None, settled: _Settled | None = None
    ) -> Outcome:
        """All jobs under one opening; blocks, the interpreter lock released."""
    def run_each(self, operations: Sequence[Operation]) -> list[Outcome | CoreError]:
        """All in one submission; blocks until the last is done, the interpreter lock released. In their order."""
    def submit(self, operations: Sequence[tuple[int, Operation]]) -> None:
        """Queues operations, each with its ticket; returns at once."""
    def fileno(self) -> int:
        """A descriptor that is readable while finished operations wait (an eventfd)."""
    def drain(self) -> list[tuple[int, Outcome | CoreError]]:
        """Finished operations since the last call."""
    def mint(
        self,
        name: str,
        suites: Sequence[str],
        quorum: str,
        seats: dict[str, str],
        policy: str = "",
        expires: int | None = None,
        replaces: bytes | None = None,
        import_from: tuple[str, str] | None = None,
    ) -> tuple[Token, list[Receipt], list[str]]:
        """`seats`: seat → holder name. `import_from`: ("file", path) | ("descriptor", "3") | ("terminal", prompt).
        Returns the token, receipts, warnings."""
    def create_threshold(
        self,
        kind: str,
        name: str,
        suite: str,
        quorum: str,
        seats: dict[str, str],
        policy: str = "",
        expires: int | None = None,
        replaces: bytes | None = None,
    ) -> tuple[Token, list[Receipt], list[str]]:
        """A key made among its holders, which is never put together; `kind`: `mpc` or `regen-mpc`. As `mint`."""
    def renew(
        self,
        token: Token,
        kind: str | None = None,
        quorum: str | None = None,
        seats: dict[str, str] = ...,
        policy: str | None = None,
        keep_expires: bool = True,
        expires: int | None = None,
        header: bytes | None = None,
        settled: _Settled | None = None,
    ) -> tuple[Renewed, Token, list[Receipt], list[str], bytes]:
        """New shares of a key that is never put together: the first step, its token, receipts, warnings, salt. With a
        settled `header`, kind, quorum, policy and end are its. `seats` as in `reshare`; where quorum and holders are as
        they were, it is a refresh."""
    def finish_renewal(self, renewed: Renewed) -> tuple[int, list[tuple[str | None, str, str, str, str]]]:
        """The second, once the token is durable: kept shares that were removed, and whom it could not tell."""
    def reshare(
        self,
        token: Token,
        quorum: str | None = None,
        seats: dict[str, str] = ...,
        policy: str | None = None,
        keep_expires: bool = True,
        expires: int | None = None,
        header: bytes | None = None,
        settled: _Settled | None = None,
    ) -> _Healed:
        """Mints the token's seed anew; None keeps what the token has. A seat that `seats` does not name keeps its
        holder, or is held by its namesake where it is new. With a settled `header`, quorum, policy and end are its
        own, and what fails once the old token was opened is CoreError `spent`."""
    def repair(
        self, token: Token, seat: str, holder: str, even_if_it_sits: bool = False, settled: _Settled | None = None
    ) -> _Healed:
        """Gives a lost seat to another holder."""
    def check(
        self, token: Token, open: bool = False, settled: _Settled | None = None
    ) -> tuple[list[tuple[str, str, str, str, str, float | None]], CoreError | None, list[Receipt], bytes | None]:
        """One row a seat: (seat, holder name, holder id hex, "ok" or fault kind, detail, milliseconds). With
        `open`, the anchor is checked too; the error is why that failed; then receipts and salt of the opening."""
    def retire(
        self, token: Token, settled: _Settled | None = None
    ) -> tuple[bool, list[tuple[str, str, str, str]], list[Receipt], bytes | None]:
        """(a blocking set is tombstoned, rows (seat, holder name, "retired" or fault kind, detail), receipts, salt;
        no salt for a key that is never put together)."""
    def order(
        self, tokens: Sequence[Token], command: str
    ) -> tuple[bool, list[tuple[str, str, str, str]], list[tuple[str, str, str]], list[Receipt]]:
        """Gives every agent an order about a token, of which `tokens` are versions: `revoke`, `freeze` or `thaw`.
        (settled, rows (seat, holder name, "revoked", "frozen", "thawed" or fault kind, detail), other agents that have
        not obeyed (name, fault kind, detail), receipts)."""
    def revoke_grant(self, revocation: bytes) -> list[tuple[str, str, str]]:
        """Per holder: (name, id hex, why it has not revoked the grant, or "")."""
    def status(self) -> list[tuple[str, str, dict[str, Any] | None, str]]:
        """Per holder: (name, id hex, its status or None, why not). A status also has milliseconds (of the answer) and
        clock_offset_ms (its clock ahead of the local one)."""

@final
class Policy:
    """A policy that may go into a token, judged as an agent judges it."""

    def __new__(cls, text: str) -> Self:
        """Raises CoreError `policy` for one that does not parse or fit the schema. Empty text is no policy."""
    @property
    def warnings(self) -> list[str]:
        """As at a mint."""
    @property
    def payload(self) -> str | None:
        """The type of the payload that it declares, in Cedar's schema syntax."""
    def could_open(self, caller: str, groups: Sequence[str]) -> bool:
        """Whether some permit's scope admits this caller for an action by which the token is opened."""
    @property
    def approvers(self) -> list[tuple[str, str, tuple[str, list[str]] | None]] | None:
        """Whom it names: (name, id hex, (relying party, origins) of an authenticator's key)."""
    @property
    def looks_at_approvals(self) -> bool: ...
    def decide(
        self,
        action: str,
        caller: str,
        groups: Sequence[str],
        key: str,
        suite: str = "",
        input: Sequence[int] | None = None,
        now: int | None = None,
        minter: bool = False,
        payload: Buffer | None = None,
        uses: tuple[int, int] | None = None,
        approvals: Sequence[str] = ...,
    ) -> tuple[bool, str, list[tuple[str, str, str]]]:
        """(permitted, why not, the deciding statements: label, "permit", "forbid" or "error", text). `input`: the 32
        bytes of the input digest; `now`: Unix seconds, by default this machine's; `payload`: in canonical form; `uses`:
        of the key and of the caller, before. Raises CoreError `bad-input`, `payload`."""
    @property
    def delegable(self) -> int:
        """How many grants may follow one another from a caller that it permits."""
    def limits(self, quorum: str | None) -> list[tuple[str, int | None, str | None]]:
        """Each limit as stated, what each agent of the quorum permits, and what that comes to, in words. Raises
        CoreError `malformed`, and `policy` for one that cannot be promised."""

def settle_header(
    token: Token,
    quorum: str | None,
    seats: dict[str, str],
    policy: str | None,
    keep_expires: bool,
    expires: int | None,
    created: int,
    kind: str | None = None,
) -> tuple[bytes, list[str]]:
    """The encoded header of a new token of the same key, with a fresh nonce, and warnings; None keeps what the token
    has. `seats`: seat → holder name; `kind`: of a key that is never put together. Raises CoreError `bad-input`,
    `malformed`, `policy`."""

def read_header(header: bytes) -> dict[str, Any]:
    """deal (bytes), model, key, name, suites, quorum, seats, policy, created, expires, replaces (ids in hex). Raises
    CoreError `malformed`."""

@final
class Asked:
    """An operation that people are asked to approve."""

    def __new__(
        cls,
        token: bytes,
        key: str,
        action: str,
        suite: str,
        input: bytes,
        caller: bytes,
        payload: Buffer | None = None,
    ) -> Self:
        """`key`: the header's name; `payload`: in canonical form. Raises CoreError `payload`."""
    def text(self, word: str = "") -> str:
        """What an approver is shown. Raises CoreError `bad-input` where it is too long."""
    def statement(self, expires: int, word: str = "") -> bytes:
        """What is to be signed, with a fresh nonce; `expires`: Unix seconds."""
    def approved_by(self, approval: bytes, now: int, site: tuple[str, list[str]] | None = None) -> None:
        """Raises CoreError `approval-invalid` unless it is a good approval of this at `now` (Unix seconds); `site`:
        relying party and origins, where the approver's key is an authenticator's."""

def approve(statement: bytes, identity: str) -> bytes:
    """An approval by the key in a file. Raises CoreError `identity`."""

def approval_challenge(statement: bytes) -> bytes: ...
def approval_from_assertion(
    statement: bytes,
    approver: bytes,
    signature: bytes,
    client_data: bytes,
    authenticator_data: bytes,
    site: tuple[str, list[str]],
) -> bytes:
    """An approval by an authenticator, verified; `approver`: SubjectPublicKeyInfo DER."""

def read_approval(approval: bytes) -> dict[str, Any]:
    """id, approver, webauthn, token, action, suite, input, caller, expires, text; nothing verified."""

def verify_approval(approval: bytes, site: tuple[str, list[str]] | None = None) -> None:
    """Raises CoreError `approval-invalid` unless the approver's key signed it, for `site` where it is an
    authenticator's."""

def verify(token: Token, suite: str, message: Buffer, signature: Buffer) -> None:
    """Offline. Raises CoreError `invalid-signature`."""

def encrypt_to(token: Token, suite: str, plaintext: Buffer) -> bytes: ...
def verify_under(spki: bytes, suite: str, message: Buffer, signature: Buffer) -> None:
    """As `verify`, under a public key, SubjectPublicKeyInfo DER."""

def encrypt_under(spki: bytes, suite: str, plaintext: Buffer) -> bytes:
    """As `encrypt_to`, to a public key, SubjectPublicKeyInfo DER."""

def encapsulate(token: Token, suite: str) -> tuple[bytes, Secret]: ...
def suites() -> list[tuple[str, bool, bool, list[str]]]:
    """(name, has a public key, imported only, quorum operations)."""

def parse_quorum(text: str) -> tuple[str, list[str]]:
    """Normal form and seat names, depth-first. Raises CoreError `malformed`."""

def quorum_splits(text: str) -> bool:
    """Whether two sufficient sets have no seat in common. Raises CoreError `malformed`."""

def canonical_payload(payload: Buffer) -> bytes:
    """The canonical form (RFC 8785) of a JSON object. Raises CoreError `payload`, saying where it has none."""

def policy_schema() -> str: ...
def grant_sign(
    identity_file: str,
    token: Sequence[int],
    delegate: Sequence[int],
    actions: Sequence[str],
    suites: Sequence[str],
    bounds: Sequence[tuple[Sequence[str], int | None, int | None, Sequence[str] | None]],
    count: int | None,
    not_before: int,
    expires: int,
    further: bool,
    under: bytes | None = None,
) -> bytes:
    """A grant signed by the identity in a file; `under` the grant that it passes on. Raises CoreError `grant-invalid`
    for one that no agent would take, `identity`."""

def grant_read(chain: Sequence[bytes]) -> list[dict[str, Any]]:
    """What a chain of grants says, verified but for who its people are. Raises CoreError `grant-invalid`."""

def grant_revoke(identity_file: str, grant: bytes) -> bytes:
    """The word of the identity in a file that its grant has ended. Raises CoreError `identity`."""

def create_identity(path: str) -> tuple[bytes, bytes, bytes]:
    """Makes a new Ed25519 identity file (0600). Returns (SPKI DER, agent id, caller id)."""

def key_ids(spki: bytes) -> tuple[bytes, bytes]:
    """The ids of a public key, SubjectPublicKeyInfo DER: as an agent's, and as a caller's or an approver's."""

def show_identity(path: str) -> tuple[bytes, bytes, bytes]: ...
def element_create(folder: str) -> dict[str, Any]:
    """Creates the first root of the element that `folder`/agent.toml describes, and the identity if it is
    missing. Returns its description: kind, label, development, weaknesses, notes, epochs, agent_id."""

def element_probe(folder: str) -> dict[str, Any]: ...
def roll_agent(
    folder: str, tokens: str, destroy_old: int | None = None, progress: Callable[[int, int], object] | None = None
) -> dict[str, Any]:
    """Rolls the agent of `folder`/agent.toml, which must not run, to a new root, or goes on with a roll that was
    stopped: every row of it below the folder `tokens` re-rooted and proven. With `destroy_old` no new roll is begun,
    and the root of that epoch is destroyed once all is proven. `progress` gets files done and files in all; what it
    raises stops the roll. Returns agent (hex), epoch, epochs, development, tokens, rerooted, proven, elsewhere,
    retired, others, problems [(file, why)], problem_count, finished, destroyed."""

def run_agent(folder: str, ready: Callable[[str], None] | None = None) -> None:
    """Runs the agent of `folder`/agent.toml until SIGTERM or SIGINT; `ready` gets the bound address."""

def log_export(folder: str, target: str) -> dict[str, Any]:
    """Exports an agent's log, up to its newest synced head, as C2SP tlog-tiles. Returns origin, size, root (hex), vkey
    and read (entries gone through). Raises CoreError `log-invalid` where it is not the log exported before."""

def input_digest(salt: bytes, action: str, suite: str, inputs: Sequence[bytes]) -> bytes:
    """`TH("input", salt, action, suite, each input)` (PROTOCOL §6)."""

def log_key(vkey: str) -> tuple[str, bytes]:
    """(origin, Ed25519 public key) of a log's vkey (C2SP signed-note, type 1)."""

def checkpoint(text: str) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint; its signatures are not looked at."""

def cosignature(text: str, vkey: str) -> tuple[str, int | None]:
    """(name, Unix seconds) of a witness's cosignature on a checkpoint; None where it has none that is right."""

def cosign(text: str, name: str, key: str, time: int) -> str:
    """The checkpoint with a cosignature/v1 of the key in a file."""

def witness_key(name: str, key: str, create: bool) -> str:
    """The vkey (type 4) of the witness of this name whose key is in a file, made first with `create`."""

def create_custodian(path: str) -> bytes:
    """Makes a custodian's X25519 key file (0600). Returns its SubjectPublicKeyInfo DER."""

def hand_over(
    from_: str,
    kind: str,
    public: bytes | None,
    quorum: str,
    components: Sequence[tuple[str, bytes, bytes]],
    check: bytes,
    custodian: str,
    key_file: str,
    transport: bytes,
) -> bytes:
    """A custodian's component of a joint KEK, sealed to a transport key (SubjectPublicKeyInfo DER) with RSA-OAEP
    (SHA-256), the label of which is the backup's label, kind and public half, hashed. Raises CoreError
    `backup-invalid`, `bad-input`, `config`."""

def hsm_kinds() -> list[tuple[str, list[str]]]:
    """(kind, the suites that it may serve)."""

@final
class Hsm:
    """One token of one PKCS#11 module, logged in to. Raises CoreError `element`, `config`."""

    def __new__(
        cls,
        module: str,
        token: str | None = None,
        slot: int | None = None,
        pin: tuple[str, str] | None = None,
        init_args: str | None = None,
        sessions: int = 0,
    ) -> Self:
        """`pin`: ("file", path), ("descriptor", number) or ("terminal", prompt)."""
    @property
    def token(self) -> str:
        """Library and token, for people."""
    def generate(self, kind: str, label: str, for_backup: bool = False) -> HsmKey:
        """Raises CoreError `exists`, `unsupported`, `bad-input`."""
    def import_key(self, label: str, suite: str, source: tuple[str, str], for_backup: bool) -> HsmKey:
        """`source` as `pin` above. Raises CoreError `bad-input`, `exists`, `unsupported`."""
    def back_up(
        self, label: str, quorum: str | None, custodians: dict[str, bytes], officer: tuple[str, str] | None
    ) -> tuple[str, bytes | None, bytes, str, list[tuple[str, bytes, bytes]], bytes]:
        """Without a quorum all are needed, and the KEK is put together in a token alone. `custodians`: names and
        SubjectPublicKeyInfo DER; `officer`: where the security officer's PIN is read. (kind, public, wrapped, quorum,
        components (name, sealed, check value), check value of the KEK). Raises CoreError `bad-input`, `not-found`,
        `unsupported`."""
    def restore(
        self,
        label: str,
        from_: str,
        kind: str,
        public: bytes | None,
        wrapped: bytes,
        quorum: str,
        components: Sequence[tuple[str, bytes, bytes]],
        check: bytes,
        key_files: dict[str, str],
        for_backup: bool,
    ) -> HsmKey:
        """`from_`: the label in the backup; `key_files`: of the custodians that are here. Raises CoreError
        `custodians-missing`, `backup-invalid`, `exists`, `unsupported`."""
    def make_transport(self, label: str) -> bytes:
        """A new RSA pair that unwraps components and does nothing else; SubjectPublicKeyInfo DER. Raises CoreError as
        `generate`."""
    def joint_weaknesses(self, transport: str) -> list[str]:
        """Each way by which whoever has a session gets at what is put together here, found by trying. Raises CoreError
        `not-found`, `unsupported`."""
    def restore_joint(
        self,
        label: str,
        from_: str,
        kind: str,
        public: bytes | None,
        wrapped: bytes,
        transport: str,
        components: Sequence[bytes],
        for_backup: bool,
    ) -> HsmKey:
        """`from_`: the label in the backup; `components`: what `hand_over` made, in the order of the backup. Raises
        CoreError `not-found`, `exists`, `unsupported` (also for a backup that was changed), `backup-invalid`."""
    def load(self, label: str, suite: str, secret: Secret) -> HsmKey:
        """Takes in a derived secret as a symmetric suite's key. Raises CoreError as `generate`."""
    def leaves(self, label: str) -> str:
        """`never`, `under a trusted key` or `under any key`, found by trying."""
    def key(self, label: str) -> HsmKey:
        """Raises CoreError `not-found`."""
    def keys(self) -> list[tuple[str, str | None, bool, bool, str]]:
        """(label, kind, sensitive and non-extractable, always so and made there, as `leaves`), by the token's word."""
    def destroy(self, label: str) -> None: ...
    def capabilities(self, kinds: Sequence[str]) -> list[tuple[str, str, str | None]]:
        """(kind, suite, why it does not work), tried."""

@final
class HsmKey:
    """One key in a token."""

    @property
    def label(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def suites(self) -> list[str]: ...
    @property
    def public(self) -> bytes | None:
        """SubjectPublicKeyInfo DER of a key pair."""
    def prepare(self, jobs: Sequence[tuple[str, str, Buffer, Buffer, int]]) -> HsmWork:
        """Copies (suite, action, main input, second input, length) for each job."""
    def macs(self, suite: str, messages: Sequence[Buffer]) -> list[bytes]: ...

@final
class HsmWork:
    """Jobs for one key."""

    def run(self, key: HsmKey | None = None) -> list[bytes | Secret | None]:
        """One output for each job, by another key where one is given. Raises CoreError `unsupported`, `element`,
        `invalid-signature`, `decryption-failed`."""

@final
class EmbeddedAgent:
    """An agent inside this process, on a thread of its own: for a quickstart and tests."""

    def __new__(cls, folder: str) -> Self: ...
    @property
    def address(self) -> str: ...
    @property
    def agent_id(self) -> bytes: ...
    def stop(self) -> None: ...

def harden(enabled: bool = True) -> None:
    """Makes this process undumpable with core limit 0. The package calls it on import unless opted out."""

def memory_report() -> dict[str, Any]:
    """backing, why, arena_bytes, arena_free, unlocked_bytes, locked_limit, undumpable, core_limit_zero,
    crucible_threads, stack_bytes, spilled, awslc_in_arena, audit."""
