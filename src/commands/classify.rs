//! `manylens classify`: pictures to answers, through a server.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::pictures::find;
use crate::client::{Answer, Client, Question};
use crate::table::table;

/// What `manylens classify` needs to know.
pub struct Arguments {
    /// Picture files, and folders of them.
    pub pictures: Vec<PathBuf>,
    /// What to ask of each.
    pub question: Question,
    /// `http://host:port`
    pub url: String,
    /// What the server wants to see.
    pub key: Option<String>,
    /// For each picture.
    pub timeout: Duration,
    /// For a program instead of a person.
    pub json: bool,
}

/// Prints an answer for every picture. The exit status is 1 when one has none.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = Client::new(&arguments.url, arguments.key.clone(), arguments.timeout);
    let ask = |picture: &PathBuf| {
        let bytes = fs::read(picture).map_err(|error| error.to_string())?;
        client.classify(&arguments.question, &bytes).map_err(|error| error.to_string())
    };
    let pictures = pictures(&arguments.pictures)?;
    let answers: Vec<_> = pictures.iter().map(|picture| (picture.display().to_string(), ask(picture))).collect();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&program(&answers)).unwrap_or_default());
    } else {
        println!("{}", people(&answers));
        for (picture, error) in answers.iter().filter_map(|(picture, answer)| Some((picture, answer.as_ref().err()?))) {
            eprintln!("{picture}: {error}");
        }
    }
    let failed = answers.iter().any(|(_, answer)| answer.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Folders stand for the pictures in them; a file is sent whatever its name.
fn pictures(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut pictures = Vec::new();
    for path in paths {
        if path.is_dir() {
            pictures.extend(find(path)?.into_iter().map(|picture| picture.path));
        } else {
            pictures.push(path.clone());
        }
    }
    Ok(pictures)
}

/// What a program reads.
#[derive(Serialize)]
struct Printed<'a> {
    results: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    picture: &'a str,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Answer(&'a Answer),
    Failed { error: &'a str },
}

fn program<'a>(answers: &'a [(String, Result<Answer, String>)]) -> Printed<'a> {
    let line = |(picture, answer): &'a (String, Result<Answer, String>)| Line {
        picture,
        outcome: match answer {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => Outcome::Failed { error },
        },
    };
    Printed { results: answers.iter().map(line).collect() }
}

fn people(answers: &[(String, Result<Answer, String>)]) -> String {
    let row = |(picture, answer): &(String, Result<Answer, String>)| match answer {
        Ok(answer) => vec![picture.clone(), decision(answer), others(answer), answer.version.to_string()],
        Err(_) => vec![picture.clone(), "(error)".into(), String::new(), String::new()],
    };
    table(&["picture", "answer", "most probable", "version"], &answers.iter().map(row).collect::<Vec<_>>())
}

fn decision(answer: &Answer) -> String {
    match answer.decision.labels.as_slice() {
        [] if answer.decision.abstained => "(not sure)".into(),
        [] => "(none)".into(),
        labels => labels.join(", "),
    }
}

fn others(answer: &Answer) -> String {
    let class = |p: &crate::client::Prediction| format!("{} {:.1} %", p.label, p.probability * 100.0);
    answer.predictions.iter().map(class).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Decision, Prediction};

    fn answers() -> Vec<(String, Result<Answer, String>)> {
        let prediction = Prediction { label: "five".into(), index: 5, probability: 0.75 };
        let answer = Answer {
            task: "digits".into(),
            version: 3,
            hash: "sha256:ab".into(),
            predictions: vec![prediction],
            decision: Decision { labels: vec!["five".into()], abstained: false },
            logits: None,
        };
        vec![("5.png".into(), Ok(answer)), ("x.txt".into(), Err("these bytes are no picture".into()))]
    }

    #[test]
    fn a_program_reads_the_answer_beside_its_picture() {
        assert_eq!(
            serde_json::to_string(&program(&answers())).expect("JSON"),
            r#"{"results":[{"picture":"5.png","task":"digits","version":3,"hash":"sha256:ab","predictions":[{"label":"five","index":5,"probability":0.75}],"decision":{"labels":["five"],"abstained":false}},{"picture":"x.txt","error":"these bytes are no picture"}]}"#
        );
    }

    #[test]
    fn a_person_reads_a_line_per_picture() {
        let text = people(&answers());
        assert!(text.contains("five 75.0 %") && text.contains("(error)"), "{text}");
    }
}
