"""The parameters of the stacks that are checked, and of those that must be refused."""

CLUSTER = "arn:aws:kafka:us-east-1:111122223333:cluster/shop/0b3a1f9c-5d0e-4b8f-9c52-0d7e5f1a2b3c-4"
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BROKERS = "b-1.shop.c4.kafka.us-east-1.amazonaws.com:9098,b-2.shop.c4.kafka.us-east-1.amazonaws.com:9098"
BUCKET = "arn:aws:s3:::tidemark-given-up"

PRODUCT_TOPICS = ("CreatedTopic", "UpdatedTopic", "DeletedTopic")
OTHER_TOPICS = ("OrdersTopic", "OrderItemsTopic", "ActivityTopic", "UserEventsTopic", "MetricsTopic")
REGULAR_JOBS = ("ArchiveSchedule", "ReportSchedule", "UpkeepSchedule")

# What is not named has its default. Together they must turn every condition both ways.
VARIANTS = {
    "defaults": {},
    "cluster": {"MskClusterArn": CLUSTER},
    "products alone": {"MskClusterArn": CLUSTER} | dict.fromkeys(OTHER_TOPICS + REGULAR_JOBS, ""),
    "audits alone": {"AuditSchedule": "cron(0 3 ? * SUN *)"} | dict.fromkeys(REGULAR_JOBS, ""),
    "no archive": {"ArchiveSchedule": "", "ArchiveEntities": "false"},
    "no reports": {"ReportSchedule": "", "ArchiveRetentionDays": "365", "QuarantineRetentionDays": "30"},
    "all but products": {"MskClusterArn": CLUSTER} | dict.fromkeys(PRODUCT_TOPICS, ""),
    "requests alone": {
        "ApiSecret": "aB3" * 16,
        "AllowedOrigins": "https://dashboards.example.com",
        "JwtIssuer": "https://id.example.com/",
        "JwtAudience": "tidemark",
    },
    "requests to Kafka": {"MskClusterArn": CLUSTER, "KafkaBootstrapServers": BROKERS},
    "everything": {
        "MskClusterArn": CLUSTER,
        "CreatedTopic": "shop.created",
        "UpdatedTopic": "shop.updated",
        "DeletedTopic": "shop.deleted",
        "OrdersTopic": "shop.orders",
        "OrderItemsTopic": "shop.order_items",
        "ActivityTopic": "shop.activity",
        "UserEventsTopic": "shop.users",
        "MetricsTopic": "shop.metrics",
        "CreatedConsumerGroupId": "catalogue-created",
        "UpdatedConsumerGroupId": "catalogue-updated",
        "DeletedConsumerGroupId": "catalogue-deleted",
        "OrdersConsumerGroupId": "sales-orders",
        "OrderItemsConsumerGroupId": "sales-items",
        "ActivityConsumerGroupId": "usage-activity",
        "UserEventsConsumerGroupId": "usage-users",
        "MetricsConsumerGroupId": "usage-metrics",
        "KafkaSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:AmazonMSK_tidemark-a1b2c3",
        "KafkaSecretKmsKeyArn": KEY,
        "MaximumRetryAttempts": "50",
        "MaximumRecordAgeInSeconds": "86400",
        "BisectBatchOnFunctionError": "true",
        "OnFailureDestinationArn": BUCKET,
        "ProvisionedMode": "true",
        "PollerGroupName": "tidemark",
        "SubnetIds": "subnet-0a1b2c3d4e5f60718,subnet-0a1b2c3d4e5f60719",
        "SecurityGroupIds": "sg-0a1b2c3d4e5f60718",
        "DecimalScale": "12",
        "ClockSkewHours": "1",
        "StoreIpAddress": "true",
        "StoreUserAgent": "true",
        "TimeZone": "America/Argentina/Buenos_Aires",
        "TopN": "1000",
        "MaxTagSets": "10000",
        "ActivityRetentionDays": "36500",
        "MetricsRetentionDays": "36500",
        "SalesRetentionDays": "36500",
        "QuarantineRetentionDays": "3650",
        "ArchiveRetentionDays": "36500",
        "ArchiveSchedule": "rate(12 hours)",
        "ReportSchedule": "cron(0/15 6-22 ? * MON-FRI *)",
        "UpkeepSchedule": "cron(0/30 6-22 ? * MON-FRI *)",
        "AuditSchedule": "rate(1 day)",
        "ArchiveEntities": "false",
        "ArchiveHistory": "false",
        "HistoryRetentionDays": "36500",
        "ArchiveSegments": "64",
        "ArchiveReadUnits": "1000000",
        "ArchiveMemorySize": "10240",
        "AllowedOrigins": "https://dashboards.example.com,http://localhost:3000",
        "RateLimitPerMinute": "0",
        "ApiRequestsPerSecond": "10000",
        "ApiBurst": "5000",
        "IngestRequestsPerSecond": "1000",
        "IngestBurst": "500",
        "HttpLanes": "64",
        "ApiMemorySize": "10240",
        "JwtIssuer": "https://id.example.com/",
        "JwtAudience": "tidemark",
        "JwtAppsClaim": "https://example.com/apps",
        "JwtJwksUrl": "https://id.example.com/keys",
        "KafkaBootstrapServers": BROKERS,
        "KafkaAuth": "scram",
        "KafkaMaxMessageBytes": "8388608",
        "KmsKeyArn": KEY,
        "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:on-call",
        "Tracing": "Active",
    },
}

# Parameters that the template's own rules must refuse before anything is created.
REFUSED = {
    "a stack that reads no topic": dict.fromkeys(PRODUCT_TOPICS + OTHER_TOPICS, ""),
    "a retry limit without provisioned pollers": {"MaximumRetryAttempts": "5", "OnFailureDestinationArn": BUCKET},
    "bisecting without provisioned pollers": {"BisectBatchOnFunctionError": "true"},
    "a retry limit that drops records": {"MaximumRetryAttempts": "5", "ProvisionedMode": "true"},
    "a record age that drops records": {"MaximumRecordAgeInSeconds": "3600", "ProvisionedMode": "true"},
    "writing to Kafka what is not read": {"KafkaBootstrapServers": BROKERS},
    "writing to a topic that is not read": {
        "MskClusterArn": CLUSTER, "KafkaBootstrapServers": BROKERS, "ActivityTopic": ""},
    "writing as nobody knows whom": {"MskClusterArn": CLUSTER, "KafkaBootstrapServers": BROKERS, "KafkaAuth": "scram"},
    "writing as a role without TLS": {
        "MskClusterArn": CLUSTER, "KafkaBootstrapServers": BROKERS, "KafkaTls": "false"},
    "tokens for anybody": {"JwtIssuer": "https://id.example.com/"},
}
