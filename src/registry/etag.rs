//! `If-Match` against a task's ETag, its active version's number in quotes (RFC 9110, sections 8.8.3 and 13.1.1).

/// The ETag of a task with this active version.
pub fn of(active: u64) -> String {
    format!("\"{active}\"")
}

/// Whether an `If-Match` header allows a change to a task with this active version. A weak tag matches nothing.
pub fn allows(if_match: &str, active: Option<u64>) -> bool {
    let Some(active) = active.map(of) else { return false };
    if_match.trim() == "*" || if_match.split(',').any(|tag| tag.trim() == active)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_a_star_and_nothing_else_match() {
        for good in ["\"3\"", "*", " \"1\" , \"3\"", "\"3\",\"4\""] {
            assert!(allows(good, Some(3)), "{good}");
            assert!(!allows(good, None), "{good}");
        }
        for bad in ["", "3", "\"4\"", "W/\"3\"", "\"33\"", "**"] {
            assert!(!allows(bad, Some(3)), "{bad}");
        }
    }
}
