-- The archive in DuckDB, in a bucket or in the folder of a local run: `duckdb -f docs/duckdb.sql`.
--
-- A day (`dt`) has all of a view's rows as of that day: whoever names no day counts each row once for every day.
-- Money in Parquet is DECIMAL(38, 12), and so are its sums: exact. A quotient is a DOUBLE, as always in DuckDB. Numbers
-- with a point pass through a DOUBLE on their way out of JSON, too: they are exact up to 15 digits.

-- Where `cargo run -- --store ./data` keeps the bucket. Of one in AWS: 's3://NAME'.
SET VARIABLE bucket = 'data/s3/tidemark';

-- A view's rows of all days.
CREATE OR REPLACE TEMP MACRO archived(view) AS TABLE
SELECT * FROM read_parquet(
  getvariable('bucket') || '/parquet/' || view || '/dt=*/*.parquet', hive_partitioning = true, union_by_name = true
);

-- The objects of JSON that a path names, as columns; one of more than 16 MB needs a greater maximum_object_size.
CREATE OR REPLACE TEMP MACRO documents(path, fields) AS TABLE
SELECT * FROM read_json(getvariable('bucket') || path, columns = fields);

-- The newest day whose run is finished: manifests are written last.
SET VARIABLE day = (SELECT max(date) FROM documents('/manifests/daily-*.json', {'date': 'DATE'}));

-- Sellers with the most in stock.
SELECT seller_id, active_products, total_value
FROM archived('sellers') WHERE dt = getvariable('day')
ORDER BY total_value DESC, seller_id LIMIT 10;

-- What is in stock, by category.
SELECT category, total_products, total_value, total_price / total_products AS average_price
FROM archived('categories') WHERE dt = getvariable('day') AND total_products > 0
ORDER BY category;

-- Orders and revenue per day.
SELECT sales_date, order_count, total_amount
FROM archived('dailySales') WHERE dt = getvariable('day') AND order_count > 0
ORDER BY sales_date;

-- Products that sold best.
SELECT product_id, quantity_sold, total_revenue
FROM archived('productSales') WHERE dt = getvariable('day') AND item_count > 0
ORDER BY total_revenue DESC, product_id LIMIT 10;

-- Each app's events, distinct users and sessions per day.
SELECT app_id, starts AS date, events, active_users, sessions
FROM archived('apps') WHERE dt = getvariable('day') AND period = 'DAY' AND event_type IS NULL AND events > 0
ORDER BY ALL;

-- Metrics per hour. The rows of 1M are the same points by the minute: add up one period alone.
SELECT app_id, metric_name, date_trunc('hour', make_timestamp(starts::BIGINT * 1000)) AS hour,
  sum(count)::BIGINT AS points, sum(sum) AS total, min(min) AS least, max(max) AS greatest
FROM archived('metrics') WHERE dt = getvariable('day') AND period = '15M'
GROUP BY ALL ORDER BY ALL;

-- The snapshot of the day: its sellers, and what runs out.
CREATE OR REPLACE TEMP TABLE snapshot AS
FROM documents('/analytics/' || getvariable('day') || '/*.json', {
  'timestamp': 'BIGINT',
  'sellerMetrics': 'STRUCT(sellerId VARCHAR, activeProducts BIGINT, totalValue DECIMAL(38, 2))[]',
  'lowStockMetrics': 'STRUCT(count BIGINT, products STRUCT(productId BIGINT, quantity BIGINT)[])'
}) ORDER BY timestamp DESC LIMIT 1;

SELECT unnest(sellerMetrics, recursive := true) FROM snapshot;

SELECT unnest(lowStockMetrics.products, recursive := true) FROM snapshot;

-- The newest report of all orders, and of those per day.
SELECT generated_at, metrics.total_orders, metrics.total_revenue FROM documents('/analytics/summary/*.json', {
  'generated_at': 'TIMESTAMP', 'metrics': 'STRUCT(total_orders BIGINT, total_revenue DECIMAL(38, 2))'
}) ORDER BY generated_at DESC LIMIT 1;

SELECT unnest(data, recursive := true) FROM (FROM documents('/analytics/daily_sales/*.json', {
  'generated_at': 'TIMESTAMP', 'data': 'STRUCT(date DATE, order_count BIGINT, total_amount DECIMAL(38, 2))[]'
}) ORDER BY generated_at DESC LIMIT 1);

-- Records that were set aside, and how many of them count by now.
SELECT topic, records, redriven
FROM archived('rejects') WHERE dt = getvariable('day')
ORDER BY topic;

-- What was set aside, and why. A batch that came again may stand in two files.
SELECT topic, reason, count(DISTINCT (source, epoch, partition, "offset")) AS records
FROM documents('/quarantine/**/*.jsonl', {
  'source': 'VARCHAR', 'epoch': 'BIGINT', 'topic': 'VARCHAR', 'partition': 'BIGINT', 'offset': 'BIGINT',
  'reason': 'VARCHAR'
}) GROUP BY ALL ORDER BY records DESC, topic, reason;
