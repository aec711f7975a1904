//! Lets clap hand bad values on, so that all of them are reported together.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::{Arg, Command};

use crate::config::Given;

/// Never fails: the fault travels inside the value.
#[derive(Clone)]
pub struct GivenParser<T>(PhantomData<fn() -> T>);

impl<T> ValueParserFactory for Given<T>
where
    GivenParser<T>: TypedValueParser,
{
    type Parser = GivenParser<T>;

    fn value_parser() -> Self::Parser {
        GivenParser(PhantomData)
    }
}

impl<T> TypedValueParser for GivenParser<T>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    type Value = Given<T>;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Given<T>, clap::Error> {
        let long = arg.and_then(Arg::get_long).unwrap_or_default();
        Ok(Given::parse(format!("--{long}"), &value.to_string_lossy()))
    }
}
