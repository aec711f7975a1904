use serde_json::Value;

use crate::table::printable;

/// Characters of a line.
const LINE_CHARS_MAX: usize = 88;
/// Lines that a person looks at; the rest is in the JSON.
const LINES_MAX: usize = 40;

/// Where an adapter came from, as rows of a table: one or more for each key of the object, what is inside by name.
pub fn rows(lineage: &Value) -> Vec<Vec<String>> {
    let mut lines: Vec<(String, String)> = match lineage {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| lines(&format!("lineage: {key}"), value)).collect()
        }
        Value::Null => Vec::new(),
        value => lines("lineage", value),
    };
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines.push((String::new(), "… (all of it with --json)".to_owned()));
    }
    lines.into_iter().map(|(name, line)| vec![printable(&name), printable(&line)]).collect()
}

/// A value's leaves, filled into lines; the name stands beside the first.
fn lines(name: &str, value: &Value) -> Vec<(String, String)> {
    let mut leaves = Vec::new();
    gather("", value, &mut leaves);
    let mut lines: Vec<String> = Vec::new();
    for leaf in leaves {
        match lines.last_mut().filter(|line| line.chars().count() + 2 + leaf.chars().count() <= LINE_CHARS_MAX) {
            Some(line) => *line += &format!("; {leaf}"),
            None => lines.push(leaf),
        }
    }
    let names = std::iter::once(name.to_owned()).chain(std::iter::repeat(String::new()));
    names.zip(lines).collect()
}

/// `learning_rate 0.003`, `schedule.epochs 20`; a leaf that is longer than a line is cut.
fn gather(place: &str, value: &Value, leaves: &mut Vec<String>) {
    if let Value::Object(object) = value {
        for (key, value) in object {
            let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            gather(&inner, value, leaves);
        }
        return;
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let leaf = if place.is_empty() { text } else { format!("{place} {text}") };
    let cut = leaf.chars().nth(LINE_CHARS_MAX).is_some();
    leaves.push(if cut { leaf.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect() } else { leaf });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_has_rows_of_its_own_and_none_is_wide() {
        let recipe: serde_json::Map<_, _> = (0..30).map(|i| (format!("setting_{i}"), json!(i))).collect();
        let rows = rows(&json!({"data": {"hash": "sha256:1", "train": 8}, "recipe": recipe, "note": "x".repeat(999)}));
        assert_eq!(rows[0], ["lineage: data", "hash sha256:1; train 8"]);
        let recipe = rows.iter().position(|row| row[0] == "lineage: recipe").expect("a row");
        assert_eq!(rows[recipe + 1][0], "");
        assert!(rows.iter().all(|row| row[1].chars().count() <= LINE_CHARS_MAX));
    }

    #[test]
    fn any_lineage_is_shown_and_no_more_than_a_screen_of_it() {
        assert_eq!(rows(&Value::Null), Vec::<Vec<String>>::new());
        assert_eq!(rows(&json!("by\u{1b} hand")), [["lineage", "by\u{fffd} hand"]]);
        let many: serde_json::Map<_, _> = (0..1000).map(|i| (i.to_string(), json!({"a": {"b": i}}))).collect();
        let rows = rows(&Value::Object(many));
        assert_eq!((rows.len(), &*rows[0][1]), (LINES_MAX + 1, "a.b 0"));
    }
}
