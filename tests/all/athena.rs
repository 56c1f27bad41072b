//! `docs/athena.sql`: its tables are made of the views' own columns, so that they are never stale.
//!
//! `UPDATE_GOLDEN=1 cargo test athena` writes them anew; look at the difference before you commit.

use std::fmt::Write;

use tidemark_archive::layout;
use tidemark_archive::parquet::{STATE_COLUMNS, row_columns};
use tidemark_model::views::VIEWS;
use tidemark_tests::root;

/// A table over Parquet files.
pub(crate) struct Table {
    /// Its name: Athena knows no capitals.
    pub(crate) name: String,
    /// Where the files of a day `${dt}` are.
    pub(crate) folder: String,
    /// Names and types.
    pub(crate) columns: Vec<(&'static str, String)>,
}

/// What is made here stands between these two, once in the file.
const BEGIN: &str = "-- Views, and the entities: written by `UPDATE_GOLDEN=1 cargo test athena`.\n";
const END: &str = "-- The quarantine: ";

/// What Athena reserves in statements that define, and then what else it reserves in queries: "Escape reserved keywords
/// in queries" of its user guide.
const RESERVED: &str = "
    ALL ALTER AND ARRAY AS AUTHORIZATION BETWEEN BIGINT BINARY BOOLEAN BOTH BY CASE CASHE CAST CHAR COLUMN CONF
    CONSTRAINT COMMIT CREATE CROSS CUBE CURRENT CURRENT_DATE CURRENT_TIMESTAMP CURSOR DATABASE DATE DAYOFWEEK DECIMAL
    DELETE DESCRIBE DISTINCT DIV DOUBLE DROP ELSE END EXCHANGE EXISTS EXTENDED EXTERNAL EXTRACT FALSE FETCH FLOAT FLOOR
    FOLLOWING FOR FOREIGN FROM FULL FUNCTION GRANT GROUP GROUPING HAVING IF IMPORT IN INNER INSERT INT INTEGER INTERSECT
    INTERVAL INTO IS JOIN LATERAL LEFT LESS LIKE LOCAL MACRO MAP MORE NONE NOT NULL NUMERIC OF ON ONLY OR ORDER OUT OUTER
    OVER PARTIALSCAN PARTITION PERCENT PRECEDING PRECISION PRESERVE PRIMARY PROCEDURE RANGE READS REDUCE REGEXP
    REFERENCES REVOKE RIGHT RLIKE ROLLBACK ROLLUP ROW ROWS SELECT SET SMALLINT START TABLE TABLESAMPLE THEN TIME
    TIMESTAMP TO TRANSFORM TRIGGER TRUE TRUNCATE UNBOUNDED UNION UNIQUEJOIN UPDATE USER USING UTC_TIMESTAMP VALUES
    VARCHAR VIEWS WHEN WHERE WINDOW WITH
    CURRENT_CATALOG CURRENT_PATH CURRENT_SCHEMA CURRENT_TIME CURRENT_USER DEALLOCATE ESCAPE EXCEPT EXECUTE FIRST
    JSON_ARRAY JSON_EXISTS JSON_OBJECT JSON_QUERY JSON_TABLE JSON_VALUE LAST LISTAGG LOCALTIME LOCALTIMESTAMP NATURAL
    NORMALIZE PREPARE RECURSIVE SKIP TRIM UESCAPE UNNEST
";

/// Every table over Parquet files.
pub(crate) fn tables() -> Vec<Table> {
    let views = VIEWS.iter().map(|view| Table {
        name: in_small_letters(view.name),
        folder: layout::rows(view.name, "${dt}"),
        columns: row_columns(view),
    });
    let entities = Table {
        name: "entities".to_owned(),
        folder: layout::entities("${dt}"),
        columns: STATE_COLUMNS.map(|(name, kind)| (name, kind.to_owned())).into(),
    };
    views.chain([entities]).collect()
}

/// The file as it is.
pub(crate) fn text() -> String {
    std::fs::read_to_string(root().join("docs/athena.sql")).unwrap()
}

/// `dailySales` is `daily_sales`.
fn in_small_letters(name: &str) -> String {
    let mut small = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            small.push('_');
        }
        small.push(letter.to_ascii_lowercase());
    }
    small
}

fn statement(table: &Table) -> String {
    let Table { name, folder, columns } = table;
    let columns: Vec<String> = columns.iter().map(|(name, kind)| format!("  `{name}` {kind}")).collect();
    let mut text = format!("CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`{name}` (\n{}\n)\n", columns.join(",\n"));
    let all_days = folder.strip_suffix("dt=${dt}/").unwrap();
    write!(text, "PARTITIONED BY (`dt` string)\nSTORED AS PARQUET\nLOCATION 's3://${{BUCKET}}/{all_days}'\n").unwrap();
    text.push_str("TBLPROPERTIES (\n");
    for (property, value) in [
        ("projection.enabled", "true"),
        ("projection.dt.type", "date"),
        ("projection.dt.format", "yyyy-MM-dd"),
        ("projection.dt.range", "2020-01-01,NOW+1DAY"),
    ] {
        writeln!(text, "  '{property}' = '{value}',").unwrap();
    }
    writeln!(text, "  'storage.location.template' = 's3://${{BUCKET}}/{folder}'\n);").unwrap();
    text
}

#[test]
fn the_tables_of_athena_are_those_of_the_views() {
    let found = text();
    let (head, rest) = found.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let statements: Vec<String> = tables().iter().map(statement).collect();
    let made = format!("{head}{BEGIN}\n{}\n{END}{tail}", statements.join("\n"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(root().join("docs/athena.sql"), &made).unwrap();
    }
    assert_eq!(text(), made, "docs/athena.sql differs; see the head of athena.rs");
}

#[test]
fn no_name_in_a_table_is_a_word_that_athena_reserves() {
    let text = text();
    let statements = text.lines().filter(|line| !line.starts_with("--"));
    let names: Vec<&str> = statements.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert!(names.contains(&"seller_id") && names.contains(&"kafka_offset"), "{names:?}");
    for name in names {
        assert!(!RESERVED.split_whitespace().any(|word| word.eq_ignore_ascii_case(name)), "{name} is reserved");
    }
}
