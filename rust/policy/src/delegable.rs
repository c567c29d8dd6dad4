//! Whether a permit may be passed on, as the policy itself says: `@delegable("1")` on one of its statements, for all. `"2"`:
//! whoever was granted it may pass it on once more. A policy that does not say so is asked for the caller alone.

use cedar_policy::PolicySet;

/// The annotation's name.
const ANNOTATION: &str = "delegable";

/// How many grants may lie between a caller whom the policy permits and the one who asks; 0 where it does not say.
pub fn stated(set: &PolicySet) -> Result<usize, String> {
    let mut found = set
        .policies()
        .filter_map(|policy| policy.annotation(ANNOTATION));
    let Some(text) = found.next() else {
        return Ok(0);
    };
    if found.next().is_some() {
        return Err(
            "it says twice whether it may be delegated: one statement has @delegable, for all"
                .into(),
        );
    }
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("@delegable is \"1\" or \"2\": how many grants may follow one another".into()),
    }
}
