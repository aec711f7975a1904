use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::placed::Placed;
use super::read::{inside, text};
use super::split::Split;
use super::{DataError, Dataset, Example};

/// Between the labels of a picture that has several.
const BETWEEN: char = '|';

/// Reads a CSV file (RFC 4180, UTF-8) with the titles `path,label` and perhaps `split` and `group`, in any order. Paths
/// begin at the file's folder. A picture may have several labels, with `|` between them, or none: the data is then
/// multi-label. Pictures of one group are in one split. Classes are in the order of their names' bytes.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let missing = || DataError::Read { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
    let text = text(path)?.ok_or_else(missing)?;
    let rows = Rows { path }.parse(text.strip_prefix('\u{feff}').unwrap_or(&text))?;
    if rows.is_empty() {
        return Err(DataError::Empty(path.to_owned()));
    }
    check_groups(path, &rows)?;
    Ok(gather(path, rows))
}

/// A line.
#[derive(Debug)]
struct Row {
    picture: String,
    labels: Vec<String>,
    split: Option<Split>,
    group: Option<String>,
}

struct Rows<'a> {
    path: &'a Path,
}

/// Where the columns are.
struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
    group: Option<usize>,
}

impl Rows<'_> {
    fn parse(&self, text: &str) -> Result<Vec<Row>, DataError> {
        let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(text.as_bytes());
        let mut records = reader.records();
        let first = records.next().transpose().map_err(|error| self.malformed(&error))?.unwrap_or_default();
        let columns = self.columns(&first)?;
        let mut seen = HashSet::new();
        let row = |record: Result<StringRecord, csv::Error>| {
            let record = record.map_err(|error| self.malformed(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let row = self.row(&record, &columns, line)?;
            if !seen.insert(row.picture.clone()) {
                return Err(DataError::Twice { path: self.path.to_owned(), line, found: row.picture });
            }
            Ok(row)
        };
        records.map(row).collect()
    }

    fn columns(&self, titles: &StringRecord) -> Result<Columns, DataError> {
        let find = |title: &str| titles.iter().position(|found| found.eq_ignore_ascii_case(title));
        let wrong = || DataError::Titles {
            path: self.path.to_owned(),
            found: titles.iter().collect::<Vec<_>>().join(",").chars().take(SHOWN_MAX).collect(),
        };
        let known = ["path", "label", "split", "group"];
        let all_known = titles.iter().all(|title| known.iter().any(|known| title.eq_ignore_ascii_case(known)));
        let different = titles.iter().map(str::to_ascii_lowercase).collect::<HashSet<_>>().len() == titles.len();
        let (path, label) = find("path").zip(find("label")).filter(|_| all_known && different).ok_or_else(wrong)?;
        Ok(Columns { path, label, split: find("split"), group: find("group") })
    }

    fn row(&self, record: &StringRecord, columns: &Columns, line: u64) -> Result<Row, DataError> {
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let wrong = |found: &str, expected| DataError::Line {
            path: self.path.to_owned(),
            line,
            found: found.chars().take(SHOWN_MAX).collect(),
            expected,
        };
        let picture = cell(columns.path);
        let picture = inside(picture).ok_or_else(|| wrong(picture, "a path inside the file's folder"))?;
        let split = columns.split.map(cell).filter(|split| !split.is_empty());
        let parsed =
            split.map(|split| Split::parse(split).ok_or_else(|| wrong(split, "train, val, test, or nothing as split")));
        let label = cell(columns.label);
        let labels: Vec<String> = label.split(BETWEEN).map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        if labels.iter().collect::<HashSet<_>>().len() != labels.len() {
            return Err(wrong(label, "different labels"));
        }
        let group = columns.group.map(cell).filter(|group| !group.is_empty()).map(str::to_owned);
        Ok(Row { picture, labels, split: parsed.transpose()?, group })
    }

    fn malformed(&self, error: &csv::Error) -> DataError {
        let line = error.position().map_or(1, csv::Position::line);
        let (found, expected) = match error.kind() {
            csv::ErrorKind::UnequalLengths { len, expected_len, .. } => {
                (format!("{len} cells for {expected_len} titles"), "as many cells as there are titles")
            }
            _ => (error.to_string(), "CSV in UTF-8"),
        };
        DataError::Line { path: self.path.to_owned(), line, found, expected }
    }
}

/// Characters of a cell that an error shows.
const SHOWN_MAX: usize = 120;

/// A group's pictures are in one split, or none of them is in one yet.
fn check_groups(path: &Path, rows: &[Row]) -> Result<(), DataError> {
    let mut splits: HashMap<&str, Option<Split>> = HashMap::new();
    for Row { group, split, .. } in rows {
        let Some(group) = group else { continue };
        let first = *splits.entry(group.as_str()).or_insert(*split);
        if first != *split {
            let name = |split: Option<Split>| split.map_or("no split", Split::name);
            let (first, second) = (name(first), name(*split));
            return Err(DataError::Straddles { path: path.to_owned(), group: group.clone(), first, second });
        }
    }
    Ok(())
}

fn gather(path: &Path, rows: Vec<Row>) -> Dataset {
    let folder = path.parent().unwrap_or(Path::new(""));
    let labels: BTreeSet<String> = rows.iter().flat_map(|row| row.labels.clone()).collect();
    let labels: Vec<String> = labels.into_iter().collect();
    let multi_label = rows.iter().any(|row| row.labels.len() != 1);
    let mut placed = Placed::default();
    for Row { picture, labels: of_row, split, group } in rows {
        let mut targets: Vec<usize> = of_row.iter().filter_map(|label| labels.binary_search(label).ok()).collect();
        targets.sort_unstable();
        // A picture and a group may have one name: they don't share a split for that.
        let key = group.map_or_else(|| picture.clone(), |group| format!("group\0{group}"));
        placed.add(split, key, Example { path: folder.join(&picture), targets });
    }
    placed.dataset(labels, multi_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Dataset, DataError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data.csv");
        std::fs::write(&path, text).expect("written");
        read(&path)
    }

    fn name(example: &Example) -> String {
        example.path.file_name().expect("a name").to_string_lossy().into_owned()
    }

    #[test]
    fn quotes_titles_in_any_order_and_given_splits() {
        let text = "\u{feff}split,path,label\r\ntrain,\"a,b.png\",dog\r\nval,c.png,cat\r\ntest,\"d\"\"e.png\",dog\r\n";
        let data = parse(text).expect("data");
        assert_eq!((data.labels, data.multi_label), (vec!["cat".to_owned(), "dog".into()], false));
        let names = [&data.train, &data.validation, &data.test].map(|split| split.iter().map(name).collect::<Vec<_>>());
        assert_eq!(names, [["a,b.png"], ["c.png"], ["d\"e.png"]]);
        assert_eq!((&data.train[0].targets, &data.validation[0].targets), (&vec![1], &vec![0]));
    }

    #[test]
    fn several_labels_or_none_are_multi_label() {
        let data = parse("path,label,split\na.png,y|x,train\nb.png,,train\nc.png,x,val\n").expect("data");
        assert!(data.multi_label);
        assert_eq!(data.train.iter().map(|e| e.targets.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![]]);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (text, part) in [
            ("", "titles"),
            ("path,name\n", "titles"),
            ("path,label,path\n", "titles"),
            ("path,label,weight\n", "titles"),
            ("path,label\n", "no labelled pictures"),
            ("path,label\na.png\n", "line 2 is \"1 cells for 2 titles\"; it must be as many cells as there are titles"),
            ("path,label\na.png,x\n../b.png,x\n", "line 3"),
            ("path,label\n/etc/b.png,x\n", "line 2"),
            ("path,label\n,x\n", "line 2"),
            ("path,label\na.png,x|x\n", "different labels"),
            ("path,label,split\na.png,x,train\n./a.png,x,test\n", "line 3 names \"a.png\" a second time"),
            ("path,label\na.png,x\na.png,y\n", "line 3 names \"a.png\" a second time"),
            ("path,label,split\na.png,x,dev\n", "train, val, test"),
            ("path,label,split,group\na.png,x,train,1\nb.png,x,test,1\n", "group \"1\" is in train and in test"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part) && error.contains("data.csv"), "{text:?}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"path,label\n\xff\xfe,x\n").expect("written");
        assert!(matches!(read(file.path()), Err(DataError::Read { .. })));
    }

    proptest! {
        #[test]
        fn whatever_the_text_there_is_an_answer_and_no_path_outside(text in "[a-c/.,\"\n|\r\u{e4} ]{0,80}") {
            if let Ok(data) = parse(&format!("path,label,group\n{text}")) {
                for example in data.train.iter().chain(&data.validation).chain(&data.test) {
                    prop_assert!(!example.path.components().any(|part| part == std::path::Component::ParentDir));
                    prop_assert!(example.targets.iter().all(|&target| target < data.labels.len()));
                    prop_assert!(data.multi_label || example.targets.len() == 1);
                }
            }
        }

        #[test]
        fn a_group_never_straddles(groups in prop::collection::vec(0u8..6, 1..60)) {
            let lines = groups.iter().enumerate().map(|(i, group)| format!("{i}.png,{},g{group}\n", i % 2));
            let data = parse(&format!("path,label,group\n{}", lines.collect::<String>())).expect("data");
            let group = |example: &Example| groups[name(example).trim_end_matches(".png").parse::<usize>().expect("a number")];
            let [a, b, c] = [&data.train, &data.validation, &data.test].map(|s| s.iter().map(group).collect::<HashSet<_>>());
            prop_assert!(a.is_disjoint(&b) && b.is_disjoint(&c) && a.is_disjoint(&c));
            prop_assert_eq!(data.train.len() + data.validation.len() + data.test.len(), groups.len());
        }
    }
}
