//! How deep a policy may nest, told from its text before anything recurses.
//!
//! Cedar recurses as deep as a statement nests (in parsing, and in dropping what it parsed), and a stack that
//! overflows ends the process. Whoever sends a token could do that to an agent, so statements are measured
//! first: by their operators and brackets, which bound their depth from above.

/// Deepest nesting of brackets and `if` in one statement: Cedar takes up to 17 KB of stack for each.
const DEPTH: usize = 24;
/// Most operators and brackets in one statement: an upper bound of every other way to nest.
const OPERATORS: usize = 500;

/// Refuses a policy with a statement that may nest too deep.
pub fn check(policy: &str) -> Result<(), String> {
    let (depth, operators) = measure(policy.as_bytes());
    if depth > DEPTH {
        return Err(format!(
            "a statement nests brackets and `if` over {DEPTH} deep"
        ));
    }
    if operators > OPERATORS {
        return Err(format!(
            "a statement has over {OPERATORS} operators and brackets: write it as several statements"
        ));
    }
    Ok(())
}

/// Whether a statement nests so little that Cedar can take it apart and put it together again, for which it takes more
/// stack than for parsing.
pub fn is_shallow(statement: &str) -> bool {
    let (depth, operators) = measure(statement.as_bytes());
    depth <= DEPTH / 3 && operators <= OPERATORS / 8
}

/// The deepest nesting and the most operators of any statement.
///
/// Strings and comments are passed over exactly as Cedar's lexer does; where a text is no Cedar at all, Cedar
/// stops reading at the same place or earlier.
fn measure(policy: &[u8]) -> (usize, usize) {
    let (mut depth, mut operators) = (0, 0);
    let (mut open, mut ifs, mut seen, mut at) = (0usize, 0, 0, 0);
    while let Some(&byte) = policy.get(at) {
        at += 1;
        match byte {
            b'"' => at += string(&policy[at..]),
            b'/' if policy.get(at) == Some(&b'/') => {
                let end = policy[at..].iter().position(|b| matches!(b, b'\n' | b'\r'));
                at = end.map_or(policy.len(), |end| at + end);
            }
            b';' => (open, ifs, seen) = (0, 0, 0),
            b',' | b':' | b'@' | b'_' => {}
            b'(' | b'[' | b'{' => (open, seen) = (open + 1, seen + 1),
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            // "if", and every longer word that holds it: a few too many do no harm.
            b'i' if policy.get(at) == Some(&b'f') => ifs += 1,
            _ if byte.is_ascii_punctuation() => seen += 1,
            _ => {}
        }
        depth = depth.max(open + ifs);
        operators = operators.max(seen + ifs);
    }
    (depth, operators)
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
    use crate::{Compiled, Principal, Question, permits};

    #[test]
    fn strings_and_comments_count_for_nothing_and_hide_nothing() {
        assert_eq!(measure(b"a == \"((((\\\"((((\" // ((((((\n"), (0, 2));
        assert_eq!(
            measure(b"// a comment ends at a carriage return too\r((("),
            (3, 3)
        );
        assert_eq!(measure(b"\";\" && ((;("), (2, 4));
        assert_eq!(measure(b"\"open ((((("), (0, 0));
        assert_eq!(measure(b"((((\"\\"), (4, 4));
        assert_eq!(measure(b"if (a) then if (b)"), (3, 4));
    }

    /// Every way to nest, as deep as it is let through and far deeper, on a quarter of the smallest stack in use.
    #[test]
    fn no_policy_overflows_a_stack() {
        let when = |text: String| format!("permit(principal, action, resource) when {{ {text} }};");
        let declare =
            |kind: String| format!("@payload(\"{kind}\") permit(principal, action, resource);");
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
                declare("{a:".repeat(n) + "Long" + &"}".repeat(n)),
                declare(format!("{{a:{}Long{}}}", "Set<".repeat(n), ">".repeat(n))),
                declare(format!("{{{}}}", "a:Long,".repeat(n))),
            ]
        };
        let run = move || {
            for text in [10, 20, 24, 60, 160, 240, 490, 20_000]
                .into_iter()
                .flat_map(texts)
            {
                let compiled = Compiled::new(&text);

                let ask = Question {
                    action: "sign",
                    suite: "ed25519",
                    input: &[0; 32],
                    key: "k",
                    now: 5,
                    minter: false,
                    payload: None,
                    uses: crate::Uses::default(),
                    approvals: &[],
                };
                let _ = permits(Some(&compiled), &Principal::new("a", &[]), ask);
            }
        };
        let thread = std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(run)
            .unwrap();
        thread.join().unwrap();
    }
}
