//! Who may approve, as a policy itself names them: `@approvers("cfo = <id>, ceo = <id> webauthn example.com")` on one of
//! its statements.
//!
//! What is named here is covered by the token id, so that an agent's operator cannot add to it; a policy that names
//! nobody leaves it to each agent's own directory.

use cedar_policy::PolicySet;

/// The annotation's name.
const ANNOTATION: &str = "approvers";
/// Most approvers of one policy.
const MOST: usize = 64;
/// Longest name, in bytes; names are of the characters that seats are of.
const NAME: usize = 64;
/// Most origins of one relying party.
const ORIGINS: usize = 8;
/// Longest relying party or origin, in bytes.
const ORIGIN: usize = 253;

/// Someone who may approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// The name that policies speak of.
    pub name: String,
    /// `TH("caller", SubjectPublicKeyInfo)` of the key.
    pub id: [u8; 32],
    /// For whom the key approves, where it is a WebAuthn credential's; it then approves in no other way.
    pub webauthn: Option<RelyingParty>,
}

/// The site that a WebAuthn credential belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    id: String,
    origins: Vec<String>,
}

impl RelyingParty {
    /// `id`: a domain. `origins`: those of its pages that may ask for an approval; where there is none, every page under
    /// that domain.
    pub fn new(id: &str, origins: Vec<String>) -> Result<Self, String> {
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if id.len() > ORIGIN || !id.split('.').all(label) {
            return Err("the relying party of a WebAuthn key is a domain in lower case".into());
        }
        if origins.len() > ORIGINS {
            return Err(format!("over {ORIGINS} origins for one key"));
        }
        let one = Self {
            id: id.to_owned(),
            origins: Vec::new(),
        };
        // Anything else no browser would give.
        if let Some(origin) = origins.iter().find(|origin| !one.is_own(origin)) {
            let origin = evanesce_token::text::cut(origin, 64);
            return Err(format!(
                "{origin} is no page of {id}: https://, and that domain or one below it"
            ));
        }
        Ok(Self { origins, ..one })
    }

    /// The domain: what authenticators hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pages that are named, if any are.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether a page of this origin may ask for an approval.
    pub fn admits(&self, origin: &str) -> bool {
        match self.origins.is_empty() {
            true => self.is_own(origin),
            false => self.origins.iter().any(|own| own == origin),
        }
    }

    /// Whether the origin is the domain's, or of a domain below it.
    fn is_own(&self, origin: &str) -> bool {
        // Browsers give authenticators to http://localhost as well, for those who develop.
        let plain = (self.id == "localhost").then(|| origin.strip_prefix("http://"));
        let Some(rest) = origin.strip_prefix("https://").or(plain.flatten()) else {
            return false;
        };
        let (host, port) = rest.split_once(':').unwrap_or((rest, "1"));
        let below = host.strip_suffix(&self.id);
        origin.len() <= ORIGIN
            && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
            && port.len() <= 5
            && !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
    }
}

/// The approvers that a policy names; `None` where it names none.
pub fn named(set: &PolicySet) -> Result<Option<Vec<Approver>>, String> {
    let mut found = set
        .policies()
        .filter_map(|policy| policy.annotation(ANNOTATION));
    let Some(text) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err("it names its approvers twice: one statement has @approvers, for all".into());
    }
    read(text).map(Some).map_err(|why| {
        format!("@approvers does not name any: {why}; it reads \"cfo = <id>, ceo = <id> webauthn example.com\"")
    })
}

fn read(text: &str) -> Result<Vec<Approver>, String> {
    let mut approvers: Vec<Approver> = Vec::new();
    for (place, entry) in text.split(',').enumerate() {
        let wrong = |what: &str| format!("entry {}: {what}", place + 1);
        let (name, rest) = entry
            .split_once('=')
            .ok_or_else(|| wrong("it has no \"=\""))?;
        let name = name.trim();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-');
        if name.is_empty() || name.len() > NAME || !name.bytes().all(fits) {
            return Err(wrong("a name is 1 to 64 of A-Z a-z 0-9 . _ @ -"));
        }
        let mut words = rest.split_ascii_whitespace();
        let mut id = [0; 32];
        hex::decode_to_slice(words.next().unwrap_or_default(), &mut id)
            .map_err(|_| wrong("an id is 64 hex digits"))?;
        let webauthn = match words.next() {
            None => None,
            Some("webauthn") => {
                let domain = words
                    .next()
                    .ok_or_else(|| wrong("the relying party is missing"))?;
                let origins = words.map(str::to_owned).collect();
                Some(RelyingParty::new(domain, origins).map_err(|why| wrong(&why))?)
            }
            Some(_) => {
                return Err(wrong(
                    "after the id there is nothing, or webauthn and a domain",
                ));
            }
        };
        // Of two keys under one name, or two names of one key, one person could count twice.
        if approvers
            .iter()
            .any(|other| other.name == name || other.id == id)
        {
            return Err(wrong("its name or its id is another entry's"));
        }
        approvers.push(Approver {
            name: name.to_owned(),
            id,
            webauthn,
        });
        if approvers.len() > MOST {
            return Err(format!("over {MOST} approvers"));
        }
    }
    Ok(approvers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approvers_are_named_with_their_keys() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let text =
            format!(" cfo = {a},\n board-1={b} webauthn example.com https://console.example.com ");
        let read = read(&text).unwrap();
        assert_eq!((read[0].name.as_str(), read[0].id), ("cfo", [0xaa; 32]));
        assert_eq!(read[0].webauthn, None);
        let site = read[1].webauthn.as_ref().unwrap();
        assert_eq!(site.id(), "example.com");
        assert!(site.admits("https://console.example.com"));
        assert!(
            !site.admits("https://example.com"),
            "another page than the one that is named"
        );
    }

    #[test]
    fn what_names_nobody_for_certain_is_refused() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        let many: Vec<String> = (0..65).map(|n| format!("n{n} = {n:064x}")).collect();
        for (text, what) in [
            (String::new(), "no \"=\""),
            (format!("cfo = {a},"), "entry 2: it has no"),
            (format!("c f o = {a}"), "a name is"),
            (format!(" = {a}"), "a name is"),
            (format!("cfo = {}", &a[1..]), "64 hex digits"),
            (format!("cfo = {a} {b}"), "nothing, or webauthn"),
            (format!("cfo = {a} webauthn"), "relying party is missing"),
            (
                format!("cfo = {a} webauthn Example.com"),
                "domain in lower case",
            ),
            (format!("cfo = {a} webauthn a..b"), "domain in lower case"),
            (
                format!("cfo = {a} webauthn a.b http://a.b"),
                "no page of a.b",
            ),
            (
                format!("cfo = {a} webauthn a.b https://ca.b"),
                "no page of a.b",
            ),
            (
                format!("cfo = {a} webauthn a.b https://a.b/x"),
                "no page of a.b",
            ),
            (format!("cfo = {a}, cfo = {b}"), "another entry's"),
            (format!("cfo = {a}, ceo = {a}"), "another entry's"),
            (many.join(","), "over 64"),
        ] {
            let why = read(&text).expect_err(&text);
            assert!(why.contains(what), "{text}: {why}");
        }
    }

    #[test]
    fn a_page_of_another_site_may_not_ask() {
        let site = RelyingParty::new("example.com", vec![]).unwrap();
        for (origin, admitted) in [
            ("https://example.com", true),
            ("https://a.b.example.com:8443", true),
            ("http://example.com", false),
            ("https://example.com.evil.org", false),
            ("https://evilexample.com", false),
            ("https://evil.org/.example.com", false),
            ("https://evil.org:1@example.com", false),
            ("https://example.com:", false),
            ("example.com", false),
            ("", false),
        ] {
            assert_eq!(site.admits(origin), admitted, "{origin}");
        }
        let local = RelyingParty::new("localhost", vec![]).unwrap();
        assert!(local.admits("http://localhost:8000") && !local.admits("http://example.com"));
    }
}
