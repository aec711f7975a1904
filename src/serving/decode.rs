//! Picture files to rows, on a fixed number of threads. A picture is decoded once for all its rows, and its resize is
//! shared by rows whose adapters agree on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::Job;
use super::queue::Entry;
use super::ticket::Ticket;
use super::waiting::{Lane, Waiter, Waiting};
use super::worker::EngineRoom;
use super::{BytesPermit, RowError};
use crate::image::{self, DecodeLimits, Pixels, Preprocess};
use crate::registry::Version;

/// One picture on its way to its rows.
pub(super) struct Picture {
    pub bytes: Bytes,
    /// Shared by all pictures of the call: their bytes may be slices of one body.
    pub bytes_permit: Arc<BytesPermit>,
    /// Never empty.
    pub rows: Vec<(Arc<Version>, Ticket)>,
}

impl Picture {
    /// A picture of many tasks waits as its first one.
    pub fn lane(&self) -> Lane {
        Lane::Task(self.rows[0].0.task.clone())
    }
}

impl Entry for Picture {
    fn deadline(&self) -> Option<Instant> {
        self.rows.first().and_then(|(_, ticket)| ticket.deadline())
    }

    /// All rows are of one call.
    fn is_abandoned(&self) -> bool {
        self.rows.first().is_none_or(|(_, ticket)| ticket.is_abandoned())
    }
}

impl Waiter for Picture {
    fn fail(self, why: &RowError) {
        self.rows.into_iter().for_each(|(_, ticket)| ticket.answer(Err(why.clone()), 0));
    }
}

/// Turns a picture file into the pixels that each of the adapters wants; `decode` in production.
pub(super) trait Decode: Send + Sync {
    /// One result per adapter.
    fn decode(&self, bytes: &[u8], wanted: &[&Preprocess]) -> Vec<Result<Pixels, RowError>>;
}

/// Decodes picture files within limits.
pub(super) struct FromFile {
    pub limits: DecodeLimits,
}

impl Decode for FromFile {
    fn decode(&self, bytes: &[u8], wanted: &[&Preprocess]) -> Vec<Result<Pixels, RowError>> {
        match image::decode(bytes, &self.limits) {
            Ok(picture) => shared(wanted, |preprocess| Ok(picture.pixels(preprocess)?)),
            Err(error) => vec![Err(error.into()); wanted.len()],
        }
    }
}

/// The life of a decode thread.
pub(super) fn work(pictures: &Waiting<Picture>, decode: &dyn Decode, room: &EngineRoom) {
    while let Some(ready) = pictures.ready(1, Duration::ZERO) {
        ready.take(1, |_, _| true).into_iter().for_each(|picture| decode_one(picture, decode, room));
    }
}

fn decode_one(picture: Picture, decode: &dyn Decode, room: &EngineRoom) {
    let Picture { bytes, bytes_permit, mut rows } = picture;
    let started = Instant::now();
    rows.iter_mut().for_each(|(_, ticket)| ticket.waited_until(started));
    let wanted: Vec<&Preprocess> = rows.iter().map(|(version, _)| &version.lens.adapter.preprocess).collect();
    let decoded = catch_unwind(AssertUnwindSafe(|| decode.decode(&bytes, &wanted)));
    let decoded = decoded.unwrap_or_else(|_| vec![Err(RowError::DecoderFailed); rows.len()]);
    drop((bytes, bytes_permit));
    let now = Instant::now();
    room.metrics.stage("decode", (now - started).as_secs_f64());
    let mut ready = Vec::with_capacity(rows.len());
    for ((version, mut ticket), pixels) in rows.into_iter().zip(decoded) {
        ticket.decoded(now - started, now);
        match pixels {
            Ok(pixels) => {
                let lane = Lane::Task(version.task.clone());
                ready.push((lane, Job { lens: version.lens.clone(), pixels, ticket }));
            }
            Err(error) => ticket.answer(Err(error), 0),
        }
    }
    room.queue.push_all(ready);
}

/// Pixels for each adapter, computed once for those that agree on everything but mean and std, which the engine
/// applies.
fn shared(
    wanted: &[&Preprocess],
    mut pixels: impl FnMut(&Preprocess) -> Result<Pixels, RowError>,
) -> Vec<Result<Pixels, RowError>> {
    let mut made: Vec<(Preprocess, Result<Pixels, RowError>)> = vec![];
    let mut one = |wanted: &Preprocess| {
        let key = Preprocess { mean: [0.0; 3], std: [1.0; 3], ..wanted.clone() };
        if let Some((_, result)) = made.iter().find(|(made, _)| *made == key) {
            return result.clone();
        }
        let result = pixels(wanted);
        made.push((key, result.clone()));
        result
    };
    wanted.iter().map(|wanted| one(wanted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageError, Preset};
    use crate::serving::tests::fake::picture;

    #[test]
    fn a_resize_is_shared_by_adapters_that_differ_in_mean_and_std_only() {
        let (small, large) = (Preset::Vtab.at(2), Preset::Vtab.at(4));
        let shifted = Preprocess { mean: [0.1; 3], std: [0.2; 3], ..small.clone() };
        let mut made = vec![];
        let results = shared(&[&small, &large, &shifted, &large], |preprocess| {
            made.push(preprocess.size);
            Ok(picture(1, preprocess.size))
        });
        let sizes: Vec<usize> = results.iter().map(|pixels| pixels.as_ref().unwrap().size().0).collect();
        assert_eq!((made, sizes), (vec![2, 4], vec![2, 4, 2, 4]));
    }

    #[test]
    fn files_are_decoded_within_limits() {
        let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/images/cat.png")).unwrap();
        let (small, large) = (Preset::Vtab.at(2), Preset::Vtab.at(4));
        let wanted = [&small, &large];
        let sizes = FromFile { limits: DecodeLimits::default() }.decode(&file, &wanted);
        let sizes: Vec<(usize, usize)> = sizes.iter().map(|pixels| pixels.as_ref().unwrap().size()).collect();
        assert_eq!(sizes, [(2, 2), (4, 4)]);
        let limits = DecodeLimits { side_max: 1, ..DecodeLimits::default() };
        for (results, large) in [
            (FromFile { limits }.decode(&file, &wanted), true),
            (FromFile { limits: DecodeLimits::default() }.decode(b"hello", &wanted), false),
        ] {
            assert_eq!(results.len(), 2, "every row gets the error");
            for result in results {
                let Err(RowError::Picture(error)) = result else { panic!("{result:?}") };
                assert_eq!(matches!(error, ImageError::TooLarge { .. }), large, "{error}");
            }
        }
    }
}
