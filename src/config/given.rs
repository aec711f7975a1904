use std::fmt;
use std::str::FromStr;

/// A setting as it was given: its text, and what that means or why it means nothing.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// `--listen`
    pub flag: String,
    /// The text on the command line, in the environment, or the default.
    pub text: String,
    /// What it means.
    pub value: Result<T, String>,
}

impl<T: FromStr<Err: fmt::Display>> Given<T> {
    /// Reads the text; a bad one is kept for the report.
    pub fn parse(flag: String, text: &str) -> Self {
        Self { flag, text: text.to_owned(), value: text.parse().map_err(|e: T::Err| e.to_string()) }
    }
}

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `--listen`
    pub flag: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Settings that cannot be used, all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Fault>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used:", if self.0.len() == 1 { "one setting" } else { "these settings" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.flag, fault.problem))
    }
}

/// Gathers every fault; a stand-in takes the place of a bad value until [`Faults::check`] throws all of them away.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The value, or the fault and a stand-in.
    pub fn take<T: Default>(&mut self, given: Given<T>) -> T {
        self.take_or(given, T::default())
    }

    /// The value, or the fault and this stand-in.
    pub fn take_or<T>(&mut self, given: Given<T>, stand_in: T) -> T {
        given.value.unwrap_or_else(|why| {
            self.add(&given.flag, format!("`{}` cannot be used: {why}", given.text));
            stand_in
        })
    }

    /// The value of a setting that may be left out.
    pub fn take_optional<T>(&mut self, given: Option<Given<T>>) -> Option<T> {
        let given = given?;
        match given.value {
            Ok(value) => Some(value),
            Err(why) => {
                self.add(&given.flag, format!("`{}` cannot be used: {why}", given.text));
                None
            }
        }
    }

    /// The number, which must be at least `least`.
    pub fn at_least<T: Default + PartialOrd + fmt::Display>(&mut self, given: Given<T>, least: T) -> T {
        let flag = given.flag.clone();
        let good = given.value.is_ok();
        let value = self.take(given);
        if good && value < least {
            self.add(&flag, format!("{value} is too little: use at least {least}"));
        }
        value
    }

    /// One more fault.
    pub fn add(&mut self, flag: &str, problem: impl Into<String>) {
        self.0.push(Fault { flag: flag.to_owned(), problem: problem.into() });
    }

    /// `settings`, or every fault.
    pub fn check<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.0.is_empty() { Ok(settings) } else { Err(ConfigError(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut faults = Faults::default();
        faults.take(Given::<u16>::parse("--one".into(), "many"));
        faults.at_least(Given::<usize>::parse("--two".into(), "0"), 1);
        faults.at_least(Given::<usize>::parse("--three".into(), "1"), 1);
        let error = faults.check(()).expect_err("two faults");
        assert_eq!(
            error.to_string(),
            "these settings cannot be used:\n  --one: `many` cannot be used: invalid digit found in string\n  \
             --two: 0 is too little: use at least 1"
        );
    }
}
