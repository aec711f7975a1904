use std::collections::HashMap;

use super::Error;

/// The head's index of each of the data's classes: by name; where the data only has numbers, by number.
pub fn places(data: &[String], adapter: &[String]) -> Result<Vec<usize>, Error> {
    let by_name: HashMap<&str, usize> = adapter.iter().enumerate().map(|(i, label)| (label.as_str(), i)).collect();
    let named: Option<Vec<usize>> = data.iter().map(|label| by_name.get(label.as_str()).copied()).collect();
    let numbers = || data.iter().enumerate().all(|(i, label)| *label == i.to_string()) && data.len() <= adapter.len();
    if let Some(places) = named.or_else(|| numbers().then(|| (0..data.len()).collect())) {
        return Ok(places);
    }
    let missing = data.iter().filter(|label| !by_name.contains_key(label.as_str())).cloned().collect();
    Err(Error::Labels { missing, there: adapter.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_go_before_numbers() {
        assert_eq!(places(&names(&["b", "a"]), &names(&["a", "b", "c"])).expect("there"), [1, 0]);
        assert_eq!(places(&names(&["0", "1"]), &names(&["1", "0"])).expect("there"), [1, 0]);
        assert_eq!(places(&names(&["0", "1"]), &names(&["a", "b", "c"])).expect("there"), [0, 1]);
    }

    #[test]
    fn a_class_that_the_adapter_does_not_know_is_named() {
        let error = places(&names(&["a", "x"]), &names(&["a", "b"])).expect_err("no x").to_string();
        assert_eq!(error, r#"the adapter has no class "x"; it has "a", "b""#);
        assert!(places(&names(&["0", "1"]), &names(&["a"])).is_err());
    }
}
