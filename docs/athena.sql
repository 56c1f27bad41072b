-- The archive in Athena: its tables, and some queries.
--
-- Put the bucket's name for ${BUCKET} and a day for ${DATE}, leave ${dt} as it is, and run one statement after the
-- other: Athena takes them one by one.
--
-- A day (`dt`) has all of a view's rows as of that day: whoever names no day counts each row once for every day. Days
-- are projected, not listed: nothing has to be added to a table when a day is. They end with tomorrow, because NOW is
-- in UTC and the archive's days are those of TIME_ZONE.
--
-- Beside a view's own columns stand `pk` and `sk`, the row's key; `expires`, when the row may be forgotten; `others`,
-- numbers without a column, such as the buckets of a metric's sketch; and `marks`, by lane, the last plan in the row.

CREATE DATABASE IF NOT EXISTS `tidemark`;

-- Views, and the entities: written by `UPDATE_GOLDEN=1 cargo test athena`.

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`sellers` (
  `pk` string,
  `sk` string,
  `seller_id` string,
  `total_products` bigint,
  `active_products` bigint,
  `deleted_products` bigint,
  `total_value` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/sellers/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/sellers/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`categories` (
  `pk` string,
  `sk` string,
  `category` string,
  `total_products` bigint,
  `total_value` decimal(38, 12),
  `total_price` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/categories/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/categories/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`low_stock` (
  `pk` string,
  `sk` string,
  `products` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/lowStock/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/lowStock/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`daily_sales` (
  `pk` string,
  `sk` string,
  `sales_date` string,
  `order_count` bigint,
  `total_amount` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/dailySales/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/dailySales/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`product_sales` (
  `pk` string,
  `sk` string,
  `product_id` string,
  `item_count` bigint,
  `quantity_sold` bigint,
  `total_revenue` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/productSales/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/productSales/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`customers` (
  `pk` string,
  `sk` string,
  `customer_id` string,
  `order_count` bigint,
  `total_spent` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/customers/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/customers/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`order_status` (
  `pk` string,
  `sk` string,
  `status` string,
  `order_count` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/orderStatus/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/orderStatus/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`summary` (
  `pk` string,
  `sk` string,
  `total_orders` bigint,
  `total_revenue` decimal(38, 12),
  `unique_customers` bigint,
  `unique_products_sold` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/summary/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/summary/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`apps` (
  `pk` string,
  `sk` string,
  `app_id` string,
  `period` string,
  `starts` string,
  `event_type` string,
  `event_name` string,
  `events` bigint,
  `active_users` bigint,
  `sessions` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/apps/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/apps/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`event_totals` (
  `pk` string,
  `sk` string,
  `service` string,
  `type` string,
  `count` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/eventTotals/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/eventTotals/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`metrics` (
  `pk` string,
  `sk` string,
  `app_id` string,
  `metric_name` string,
  `period` string,
  `starts` string,
  `metric_type` string,
  `tags` string,
  `count` bigint,
  `sum` decimal(38, 12),
  `min` decimal(38, 12),
  `max` decimal(38, 12),
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/metrics/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/metrics/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`series` (
  `pk` string,
  `sk` string,
  `app_id` string,
  `metric_date` string,
  `metric_name` string,
  `tag_sets` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/series/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/series/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`rejects` (
  `pk` string,
  `sk` string,
  `topic` string,
  `records` bigint,
  `no_stream` bigint,
  `unreadable` bigint,
  `refused` bigint,
  `redriven` bigint,
  `expires` timestamp,
  `others` map<string, decimal(38, 12)>,
  `marks` map<string, bigint>
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/parquet/rejects/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/parquet/rejects/dt=${dt}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`entities` (
  `pk` string,
  `sk` string,
  `kind` string,
  `counter` bigint,
  `version` string,
  `expires` timestamp,
  `state` string
)
PARTITIONED BY (`dt` string)
STORED AS PARQUET
LOCATION 's3://${BUCKET}/entities/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2020-01-01,NOW+1DAY',
  'storage.location.template' = 's3://${BUCKET}/entities/dt=${dt}/'
);

-- The quarantine: records that were set aside, as JSON lines. `record` is as it arrived, its key and value in base64.

CREATE EXTERNAL TABLE IF NOT EXISTS `tidemark`.`quarantine` (
  `source` string,
  `epoch` bigint,
  `topic` string,
  `kafka_partition` bigint,
  `kafka_offset` bigint,
  `reason` string,
  `record` string
)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('mapping.kafka_partition' = 'partition', 'mapping.kafka_offset' = 'offset')
LOCATION 's3://${BUCKET}/quarantine/';

-- Sellers with the most in stock.

SELECT seller_id, active_products, total_value
FROM tidemark.sellers WHERE dt = '${DATE}'
ORDER BY total_value DESC, seller_id LIMIT 10;

-- Orders and revenue per day.

SELECT sales_date, order_count, total_amount
FROM tidemark.daily_sales WHERE dt = '${DATE}' AND order_count > 0
ORDER BY sales_date;

-- Each app's events, distinct users and sessions per day.

SELECT app_id, starts AS activity_date, events, active_users, sessions
FROM tidemark.apps WHERE dt = '${DATE}' AND period = 'DAY' AND event_type IS NULL AND events > 0
ORDER BY app_id, starts;

-- Metrics per hour. The rows of 1M are the same points by the minute: add up one period alone.

SELECT app_id, metric_name, date_trunc('hour', from_unixtime(CAST(starts AS bigint) / 1000)) AS hour_start,
  sum(count) AS points, sum(sum) AS total, min(min) AS least, max(max) AS greatest
FROM tidemark.metrics WHERE dt = '${DATE}' AND period = '15M'
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- What all orders came to by the end of each of some days.

SELECT dt, total_orders, total_revenue, unique_customers
FROM tidemark.summary WHERE dt BETWEEN '${DATE}' AND '${DATE}'
ORDER BY dt;

-- Records that were set aside, and how many of them count by now.

SELECT topic, records, redriven
FROM tidemark.rejects WHERE dt = '${DATE}'
ORDER BY topic;

-- What was set aside, and why. A batch that came again may stand in two files, and what was mended lies beside them,
-- without a reason.

SELECT topic, reason, count(*) AS records
FROM (
  SELECT DISTINCT source, epoch, topic, kafka_partition, kafka_offset, reason
  FROM tidemark.quarantine WHERE reason IS NOT NULL
)
GROUP BY topic, reason ORDER BY records DESC, topic, reason;
