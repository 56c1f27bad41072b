//! Restoring tables from an archive: what a run's manifest lists, carried on to the run's cut.

use std::error::Error;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidemark_archive::manifest::{File, Holds, Manifest};
use tidemark_archive::parquet::{RowReader, StateReader, pieces};
use tidemark_archive::{ObjectStore, documents, keys, layout, verify};
use tidemark_ledger::{Call, Cursors, LaneId, Ledger, Logged, Redo, Row, Store};
use tidemark_model::views::View;
use tidemark_runtime::now_ms;

use crate::deployment::{self, Opened};
use crate::{commands, show};

/// Restores the tables and prints what was restored.
///
/// # Errors
/// If stores are not named, the archive is not whole, the tables are not empty, or a request fails.
pub async fn run(asked: &commands::Restore) -> Result<ExitCode, Box<dyn Error>> {
    let Opened { ledger, bucket, .. } = deployment::open(&asked.deployment, &asked.place).await?;
    let manifest = manifest(&bucket, asked.run.as_deref()).await?;
    let progress = ProgressBar::new(0);
    progress.set_style(ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}")?);
    let call = Call { now_ms: now_ms(), deadline: None };
    let restored = restore(&ledger, &bucket, &manifest, &progress, call).await?;
    if asked.json {
        println!("{}", serde_json::to_string(&restored)?);
    } else {
        println!("{}", show::restored(&manifest, &restored));
    }
    Ok(ExitCode::SUCCESS)
}

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Rows.
    pub rows: usize,
    /// Entities.
    pub entities: usize,
    /// Lanes, which go on above their `through`.
    pub lanes: usize,
    /// Plans by which rows and entities were carried on to the cut.
    pub plans: usize,
}

/// The manifest of a run, by its name; or of the newest finished daily run, if none is named.
///
/// # Errors
/// If there is none.
pub async fn manifest(objects: &impl ObjectStore, run: Option<&str>) -> Result<Manifest, Box<dyn Error>> {
    let key = match run {
        Some(run) => layout::manifest(run),
        // Their names are in the order of their times.
        None => keys(objects, &format!("{}daily-", layout::MANIFESTS))
            .await?
            .pop_last()
            .ok_or("there is no manifest of a daily run; name another bucket")?,
    };
    let object = objects.get(&key).await?.ok_or_else(|| format!("there is no manifest {key}"))?;
    Ok(serde_json::from_slice(&object.body)?)
}

/// Puts a run's cut into empty tables. May be repeated after it died.
///
/// # Errors
/// If the archive lacks entities or was replaced, or the tables hold something else.
pub async fn restore<S: Store, O: ObjectStore + Clone + 'static>(
    ledger: &Ledger<S>,
    objects: &O,
    manifest: &Manifest,
    progress: &ProgressBar,
    call: Call,
) -> Result<Restored, Box<dyn Error>> {
    let files = |holds| manifest.files.iter().filter(move |file: &&File| file.holds == holds);
    let Some(lanes) = files(Holds::Lanes).next() else {
        return Err(format!("run {} holds no entities: ARCHIVE_ENTITIES was false", manifest.run).into());
    };
    progress.set_length(manifest.rows + manifest.entities);
    for file in manifest.files.iter().filter(|file| !matches!(file.holds, Holds::Snapshot | Holds::Report)) {
        progress.set_message(format!("verifying {}", file.key));
        verify(objects, file).await?;
        if file.holds == Holds::Rows {
            view(file)?;
        }
    }
    let mut restored = Restored::default();
    let end: Cursors = serde_json::from_slice(&whole(objects, lanes).await?)?;
    restored.lanes = end.len();
    if end.is_empty() {
        return Err(
            format!("run {} is of tables to which nothing was delivered; name another by --run", manifest.run).into()
        );
    }
    let mut redo = Redo::default();
    for file in files(Holds::Plans) {
        restored.plans += read_plans(objects, file, &mut redo).await?;
    }
    ledger.begin_restore(&end, call).await?;

    progress.set_message("entities");
    let entities = files(Holds::Entities).map(|file| (file.key.clone(), file.bytes)).collect();
    let mut entities = pieces(objects, entities, StateReader::new);
    while let Some(piece) = entities.recv().await {
        let piece: Vec<_> = piece?.into_iter().map(|(key, known)| (key.clone(), redo.entity(&key, known))).collect();
        ledger.restore_entities(&piece, call).await?;
        restored.entities += piece.len();
        progress.inc(piece.len() as u64);
    }
    for file in files(Holds::Rows) {
        let view = view(file)?;
        progress.set_message(view.name);
        let mut rows = pieces(objects, vec![(file.key.clone(), file.bytes)], move |file| RowReader::new(view, file));
        while let Some(piece) = rows.recv().await {
            let scanned = piece?.into_iter().map(|row| {
                let marks = row.marks.iter().map(|(lane, seq)| (LaneId::stored(lane), *seq)).collect();
                (row.key, Row { measures: row.measures, marks, ..Row::default() })
            });
            let carried = scanned.filter_map(|(key, row)| Some((key.clone(), redo.row(&key, row)?)));
            let carried: Vec<_> = carried.collect();
            ledger.restore_rows(&carried, call).await?;
            restored.rows += carried.len();
            progress.inc(carried.len() as u64);
        }
    }
    let rest = redo.rest();
    ledger.restore_entities(&rest.entities, call).await?;
    ledger.restore_rows(&rest.rows, call).await?;
    restored.entities += rest.entities.len();
    restored.rows += rest.rows.len();
    progress.set_message("rankings");
    ledger.end_restore(call).await?;
    progress.finish_and_clear();
    Ok(restored)
}

/// The view whose rows a file holds.
fn view(file: &File) -> Result<&'static View, String> {
    let view = file.view.as_deref().and_then(documents::view);
    view.ok_or_else(|| format!("file {} is of no view of this release; restore it by the one that wrote it", file.key))
}

/// Reads a log of plans, block by block; how many there are.
async fn read_plans(objects: &impl ObjectStore, file: &File, redo: &mut Redo) -> Result<usize, Box<dyn Error>> {
    const BLOCK: u64 = 8 << 20;
    let (mut plans, mut at, mut waiting) = (0, 0, Vec::new());
    while at < file.bytes {
        let end = file.bytes.min(at + BLOCK);
        waiting.extend_from_slice(&objects.get_range(&file.key, at..end).await?);
        at = end;
        let mut lines = waiting.split(|byte| *byte == b'\n');
        // What follows the last line's end is the beginning of another.
        let rest = lines.next_back().unwrap_or_default().to_vec();
        for line in lines {
            redo.add(serde_json::from_slice::<Logged>(line)?);
            plans += 1;
        }
        waiting = rest;
    }
    Ok(plans)
}

async fn whole(objects: &impl ObjectStore, file: &File) -> Result<Vec<u8>, Box<dyn Error>> {
    let object = objects.get(&file.key).await?.ok_or_else(|| format!("there is no object {}", file.key))?;
    Ok(object.body.to_vec())
}
