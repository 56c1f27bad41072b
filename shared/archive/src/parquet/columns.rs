//! The columns of one row group, as they are filled row by row.

use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;
use tidemark_model::Decimal;

/// What a value takes in memory beside its content: where it lies, its level, the heap's own.
const BESIDE: usize = 48;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// 64 bits: numbers, and times in ms.
    Whole,
    /// 128 bits, in units of 10^-12.
    Decimal,
}

/// The leaves of a schema, and how many rows are in them.
pub(crate) struct Columns {
    leaves: Vec<Leaf>,
    /// Which leaf is filled next.
    next: usize,
    rows: u64,
    bytes: usize,
}

/// One leaf: its values, and where there are none or several.
struct Leaf {
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Decimal(Vec<FixedLenByteArray>),
}

impl Columns {
    /// Empty columns, in the order of the schema's leaves: a map has two.
    pub(crate) fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let leaf = |kind| Leaf {
            values: match kind {
                Kind::Text => Values::Text(Vec::new()),
                Kind::Whole => Values::Whole(Vec::new()),
                Kind::Decimal => Values::Decimal(Vec::new()),
            },
            definitions: Vec::new(),
            repetitions: Vec::new(),
        };
        Self { leaves: kinds.into_iter().map(leaf).collect(), next: 0, rows: 0, bytes: 0 }
    }

    /// Bytes that the values take in memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows that were ever begun.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The next values are a new row's, from its first column on.
    pub(crate) fn begin_row(&mut self) {
        self.next = 0;
        self.rows += 1;
    }

    /// A required text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.put(text.len(), |leaf| leaf.push_text(text))
    }

    /// A text that may be missing.
    pub(crate) fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        self.put(text.map_or(0, str::len), |leaf| {
            leaf.definitions.push(i16::from(text.is_some()));
            text.into_iter().for_each(|text| leaf.push_text(text));
        })
    }

    /// A required whole number.
    pub(crate) fn whole(&mut self, n: i64) -> &mut Self {
        self.put(8, |leaf| leaf.push_whole(n))
    }

    /// A whole number that may be missing.
    pub(crate) fn optional_whole(&mut self, n: Option<i64>) -> &mut Self {
        self.put(8, |leaf| {
            leaf.definitions.push(i16::from(n.is_some()));
            n.into_iter().for_each(|n| leaf.push_whole(n));
        })
    }

    /// A decimal that may be missing.
    pub(crate) fn optional_decimal(&mut self, n: Option<Decimal>) -> &mut Self {
        self.put(16, |leaf| {
            leaf.definitions.push(i16::from(n.is_some()));
            n.into_iter().for_each(|n| leaf.push_decimal(n));
        })
    }

    /// A map: two leaves, its names and its values.
    pub(crate) fn decimals<'a>(&mut self, map: impl Iterator<Item = (&'a str, Decimal)> + Clone) -> &mut Self {
        self.names(map.clone().map(|(name, _)| name));
        self.members(map.map(|(_, n)| n), 16, Leaf::push_decimal)
    }

    /// Likewise, of whole numbers.
    pub(crate) fn wholes<'a>(&mut self, map: impl Iterator<Item = (&'a str, i64)> + Clone) -> &mut Self {
        self.names(map.clone().map(|(name, _)| name));
        self.members(map.map(|(_, n)| n), 8, Leaf::push_whole)
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.members(names, 24, Leaf::push_text);
    }

    /// One leaf of a map: a level says whether there is a member at all, another whether the map goes on.
    fn members<T>(&mut self, members: impl Iterator<Item = T>, each: usize, push: impl Fn(&mut Leaf, T)) -> &mut Self {
        let mut count = 0;
        self.put(0, |leaf| {
            for member in members {
                leaf.definitions.push(1);
                leaf.repetitions.push(i16::from(count > 0));
                push(leaf, member);
                count += 1;
            }
            if count == 0 {
                leaf.definitions.push(0);
                leaf.repetitions.push(0);
            }
        });
        self.bytes += count * (each + BESIDE);
        self
    }

    fn put(&mut self, bytes: usize, fill: impl FnOnce(&mut Leaf)) -> &mut Self {
        if let Some(leaf) = self.leaves.get_mut(self.next) {
            fill(leaf);
        }
        self.next += 1;
        self.bytes += bytes + BESIDE;
        self
    }

    /// Writes all columns, and leaves them empty.
    pub(crate) fn write_to(&mut self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        for leaf in &mut self.leaves {
            let Some(mut column) = group.next_column()? else { break };
            let definitions = (!leaf.definitions.is_empty()).then_some(leaf.definitions.as_slice());
            let repetitions = (!leaf.repetitions.is_empty()).then_some(leaf.repetitions.as_slice());
            match &leaf.values {
                Values::Text(values) => {
                    column.typed::<ByteArrayType>().write_batch(values, definitions, repetitions)?;
                }
                Values::Whole(values) => {
                    column.typed::<Int64Type>().write_batch(values, definitions, repetitions)?;
                }
                Values::Decimal(values) => {
                    column.typed::<FixedLenByteArrayType>().write_batch(values, definitions, repetitions)?;
                }
            }
            column.close()?;
            leaf.clear();
        }
        self.bytes = 0;
        Ok(())
    }
}

impl Leaf {
    fn push_text(&mut self, text: &str) {
        if let Values::Text(values) = &mut self.values {
            values.push(text.as_bytes().to_vec().into());
        }
    }

    fn push_whole(&mut self, n: i64) {
        if let Values::Whole(values) = &mut self.values {
            values.push(n);
        }
    }

    fn push_decimal(&mut self, n: Decimal) {
        if let Values::Decimal(values) = &mut self.values {
            values.push(n.units().to_be_bytes().to_vec().into());
        }
    }

    fn clear(&mut self) {
        self.definitions.clear();
        self.repetitions.clear();
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Whole(values) => values.clear(),
            Values::Decimal(values) => values.clear(),
        }
    }
}
