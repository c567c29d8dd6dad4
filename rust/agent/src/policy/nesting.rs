//! How deep a policy may nest, told from its text before anything recurses.
//!
//! Cedar recurses as deep as a statement nests (in parsing, and in dropping what it parsed), and a stack that
//! overflows ends the process. Whoever sends a token could do that to an agent, so statements are measured
//! first: by their operators and brackets, which bound their depth from above.

/// Most operators and brackets in one statement.
const MOST: usize = 500;

/// Refuses a policy with a statement that may nest too deep.
pub fn check(policy: &str) -> Result<(), String> {
    if deepest(policy.as_bytes()) > MOST {
        return Err(format!(
            "a statement has over {MOST} operators and brackets: write it as several statements"
        ));
    }
    Ok(())
}

/// The most operators and brackets of any statement.
///
/// Strings and comments are passed over exactly as Cedar's lexer does; where a text is no Cedar at all, Cedar
/// stops reading at the same place or earlier.
fn deepest(policy: &[u8]) -> usize {
    let (mut deepest, mut here, mut at) = (0, 0, 0);
    while let Some(&byte) = policy.get(at) {
        at += 1;
        match byte {
            b'"' => at += string(&policy[at..]),
            b'/' if policy.get(at) == Some(&b'/') => {
                let end = policy[at..].iter().position(|b| matches!(b, b'\n' | b'\r'));
                at = end.map_or(policy.len(), |end| at + end);
            }
            b';' => here = 0,
            b',' | b':' | b'@' | b'_' => {}
            // "if", and every longer word that holds it: a few too many do no harm.
            b'i' if policy.get(at) == Some(&b'f') => here += 1,
            _ if byte.is_ascii_punctuation() => here += 1,
            _ => {}
        }
        deepest = deepest.max(here);
    }
    deepest
}

/// Length of a string literal behind its opening quote.
fn string(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Compiled, Principal, Question, permits};

    #[test]
    fn strings_and_comments_count_for_nothing_and_hide_nothing() {
        assert_eq!(deepest(b"a == \"((((\\\"((((\" // ((((((\n"), 2);
        assert_eq!(
            deepest(b"// comment\r((("),
            3,
            "a comment ends at a carriage return too"
        );
        assert_eq!(deepest(b"\";\" && ((;("), 4);
        assert_eq!(deepest(b"\"open ((((("), 0);
        assert_eq!(deepest(b"((((\"\\"), 4);
    }

    /// Every way to nest, as deep as it is let through and far deeper, on a stack of a megabyte.
    #[test]
    fn no_policy_overflows_a_stack() {
        let when = |text: String| format!("permit(principal, action, resource) when {{ {text} }};");
        let texts = move |n: usize| {
            [
                when(format!("{}true{}", "(".repeat(n), ")".repeat(n))),
                when(format!("[{}1{}].isEmpty()", "[".repeat(n), "]".repeat(n))),
                when(format!("{}true", "if true then true else ".repeat(n))),
                when(format!("{}true", "if ".repeat(n))),
                when(format!("{}1 == 1", "1+".repeat(n))),
                when(format!("{}1 == 1", "1*".repeat(n))),
                when(format!("{}true", "true&&".repeat(n))),
                when(format!("{}true", "context.now<1||".repeat(n))),
                when(format!("context{} == 1", ".a".repeat(n))),
                when(format!("context has a{}", ".a".repeat(n))),
                when(format!("{}true", "!".repeat(n))),
                when(format!("{}1 == 1", "-".repeat(n))),
                when(format!("{}1{} == 1", "{a:".repeat(n), "}".repeat(n))),
                when(format!("context{}", "[\"a\"]".repeat(n))),
                format!(
                    "permit(principal, action, resource) {};",
                    "when {true} ".repeat(n)
                ),
                "permit(principal,action,resource);".repeat(n),
            ]
        };
        let run = move || {
            for text in [10, 60, 120, 166, 240, 490, 20_000]
                .into_iter()
                .flat_map(texts)
            {
                if std::env::var("SHOW").is_ok() { eprintln!("{} {}", text.len(), &text[40..70.min(text.len())]); }
                let compiled = Compiled::new(&text);
                if std::env::var("SHOW").is_ok() { eprintln!("  {:?}", compiled.invalid().map(|s| s.chars().take(60).collect::<String>())); }
                let ask = Question {
                    action: "sign",
                    suite: "ed25519",
                    input: &[0; 32],
                    key: "k",
                    now: 5,
                    minter: false,
                };
                let _ = permits(Some(&compiled), &Principal::new("a", &[]), ask);
            }
        };
        let thread = std::thread::Builder::new()
            .stack_size(std::env::var("STACK").map_or(1<<20, |s| s.parse().unwrap()))
            .spawn(run)
            .unwrap();
        thread.join().unwrap();
    }
}
