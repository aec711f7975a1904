use std::fmt::Write as _;

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The command line.
    Flag,
    /// This environment variable.
    Variable(String),
    /// There is no value.
    Unset,
}

/// A setting as `--print-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `listen`
    pub name: String,
    /// Its text; secrets are masked already.
    pub value: String,
    /// Where that comes from.
    pub source: Source,
}

/// One line per setting, in columns: name, value, source.
pub fn listing(settings: &[Setting]) -> String {
    let widest = |text: fn(&Setting) -> &str| settings.iter().map(|s| text(s).len()).max().unwrap_or(0);
    let (names, values) = (widest(|s| &s.name), widest(|s| &s.value));
    let mut out = String::new();
    for Setting { name, value, source } in settings {
        let source = match source {
            Source::Default => "default",
            Source::Flag => "command line",
            Source::Variable(variable) => variable,
            Source::Unset => "unset",
        };
        writeln!(out, "{name:names$}  {value:values$}  {source}").expect("writing to a String cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let setting = |name: &str, value: &str, source| Setting { name: name.into(), value: value.into(), source };
        let text = listing(&[
            setting("listen", "127.0.0.1:80", Source::Variable("MANYLENS_LISTEN".into())),
            setting("threads", "", Source::Unset),
        ]);
        assert_eq!(text, "listen   127.0.0.1:80  MANYLENS_LISTEN\nthreads                unset\n");
    }
}
