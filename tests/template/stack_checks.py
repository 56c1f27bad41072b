"""What must hold of a stack's mappings, functions, alarms, stores and references; policies have role_checks.py, the
HTTP APIs api_checks.py.

Every function is a check: it yields what is wrong and what to do.
"""

import json

from resources import (
    ARCHIVED, LIMITS, QUEUE, STORES, STREAMS, TABLES, beyond_limits, functions, lifecycle, listed, mappings, named_in,
    of_type, schedules, variables, walk)

MAPPING_ALWAYS = {
    "StartingPosition", "Enabled", "BatchSize", "MaximumBatchingWindowInSeconds",
    "AmazonManagedKafkaEventSourceConfig", "Topics", "EventSourceArn",
}
# Lambda refuses these for Kafka unless pollers are provisioned.
MAPPING_PROVISIONED = {"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError"}

SHARED = {
    "STATE_TABLE", "VIEWS_TABLE", "TIME_ZONE", "TOP_N", "ACTIVITY_RETENTION_DAYS",
    "METRICS_RETENTION_DAYS", "SALES_RETENTION_DAYS", "TOMBSTONE_RETENTION_DAYS", "PLAN_RETENTION_DAYS",
    "QUARANTINE_RETENTION_DAYS", "CONCURRENCY", "RETRY_MAX_ATTEMPTS", "RETRY_INITIAL_MS", "RETRY_FACTOR",
    "RETRY_CAP_MS", "METRICS_NAMESPACE", "LOG_LEVEL",
}
INGESTING = {"SOURCE_EPOCH", "CLOCK_SKEW_HOURS", "STORE_IP_ADDRESS", "STORE_USER_AGENT", "MAX_TAG_SETS"}
ENVIRONMENT = {
    "AggregateFunction": SHARED | INGESTING | {
        "BUCKET", "KMS_KEY_ARN", "TOPICS", "DECIMAL_SCALE", "LOW_STOCK_THRESHOLD",
    },
    "ArchiveFunction": SHARED | {
        "BUCKET", "KMS_KEY_ARN", "ARCHIVE_ENTITIES", "ARCHIVE_HISTORY", "HISTORY_RETENTION_DAYS", "ARCHIVE_SEGMENTS",
        "ARCHIVE_READ_UNITS",
    },
    "ApiFunction": SHARED | INGESTING | {
        "API_SECRET", "RATE_LIMIT_PER_MINUTE", "ALLOWED_ORIGINS", "HTTP_LANES", "JWT_ISSUER", "JWT_AUDIENCE",
        "JWT_APPS_CLAIM", "JWT_JWKS_URL", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_AUTH", "KAFKA_TLS",
        "KAFKA_MAX_MESSAGE_BYTES", "EVENTS_TOPIC", "METRICS_TOPIC",
    },
}
# What is there in some deployments alone; api_checks.py says in which.
OPTIONAL = {"ApiFunction": {"KAFKA_USERNAME", "KAFKA_PASSWORD"}}

# The indexes of each table, by name: their keys, what they carry, and what is read from them.
BOARD = {"HASH": ("board", "S"), "RANGE": ("rank", "N")}
INDEXES = {
    "StateTable": {"board": (BOARD, "ALL", "low stock")},
    "ViewsTable": {
        "ranking": (BOARD, "KEYS_ONLY", "the tops of rankings"),
        "directory": ({"HASH": ("kind", "S"), "RANGE": ("PK", "S")}, "KEYS_ONLY", "lists"),
    },
}

# What each schedule asks for, and what all do alike, whenever they do it; their role has role_checks.py.
JOBS = {
    "ArchiveTimer": '{"job": "daily", "time": "<aws.scheduler.scheduled-time>"}',
    "ReportTimer": '{"job": "report", "time": "<aws.scheduler.scheduled-time>"}',
    "UpkeepTimer": '{"job": "upkeep"}',
    "AuditTimer": '{"job": "audit"}',
}
SCHEDULED = {
    "State": "ENABLED",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {
        "Arn": {"Fn::GetAtt": ["ArchiveFunction", "Arn"]},
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": [QUEUE, "Arn"]}},
    },
}

# How the function tries a job that was handed to it, and where the job goes then.
TRIES = {
    "FunctionName": {"Ref": "ArchiveFunction"},
    "MaximumRetryAttempts": 2,
    "MaximumEventAgeInSeconds": 3600,
    "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": [QUEUE, "Arn"]}}},
}
# Between these tries Lambda waits one minute, then two.
WAITS = {"AggregateErrorsAlarm": 0, "ArchiveErrorsAlarm": 180}

# Alarms on what jobs say of themselves, or on what is left of them; a day and a half is 36 hours.
ALARMS = {
    "AuditDriftAlarm": {
        "MetricName": "AuditDrift", "Dimensions": [{"Name": "function", "Value": "archive"}], "Statistic": "Maximum",
        "Threshold": 1, "TreatMissingData": "notBreaching"},
    "ArchiveMissingAlarm": {
        "MetricName": "ArchiveRuns", "Dimensions": [{"Name": "function", "Value": "archive"}], "Statistic": "Sum",
        "Period": 3600, "EvaluationPeriods": 36, "DatapointsToAlarm": 36, "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold", "TreatMissingData": "breaching"},
    "ArchiveDeadLettersAlarm": {
        "Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible",
        "Dimensions": [{"Name": "QueueName", "Value": {"Fn::GetAtt": [QUEUE, "QueueName"]}}], "Statistic": "Maximum",
        "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold"},
}


def batches_and_retries_are_within_the_limits_of_lambda(stack):
    for name, mapping in mappings(stack).items():
        pollers = mapping.get("ProvisionedPollerConfig", {})
        for excess in beyond_limits(mapping | pollers):
            yield f"{name}: {excess}"
        if 0 <= mapping.get("MaximumRecordAgeInSeconds", -1) < 60:
            yield f"{name}: MaximumRecordAgeInSeconds is below 60; Lambda takes -1, or 60 and more"
        if pollers and pollers["MinimumPollers"] > pollers["MaximumPollers"]:
            yield f"{name}: {pollers}; keep MinimumPollers at or below MaximumPollers"


def mappings_carry_every_batching_and_retry_parameter(stack):
    for name, mapping in mappings(stack).items():
        provisioned = "ProvisionedPollerConfig" in mapping
        wanted = MAPPING_ALWAYS | (MAPPING_PROVISIONED if provisioned else set())
        for key in sorted(wanted - mapping.keys()):
            yield f"{name}: {key} is missing; pass the parameter of that name"
        if not provisioned:
            for key in sorted(MAPPING_PROVISIONED & mapping.keys()):
                yield f"{name}: Lambda refuses {key} for Kafka without provisioned pollers; make it conditional"


def nothing_is_dropped(stack):
    for name, mapping in mappings(stack).items():
        gives_up = mapping.get("MaximumRetryAttempts", -1) != -1 or mapping.get("MaximumRecordAgeInSeconds", -1) != -1
        if gives_up and "DestinationConfig" not in mapping:
            yield f"{name}: gives batches up without a destination; retry for ever (-1) or give it one"
        if mapping.get("StartingPosition") != "TRIM_HORIZON":
            yield f"{name}: StartingPosition skips records; the default must be TRIM_HORIZON"
        if "FunctionResponseTypes" in mapping:
            yield f"{name}: drop FunctionResponseTypes; the function reports no partial failures"


def each_topic_has_one_mapping_and_a_group_of_its_own(stack):
    found = mappings(stack).values()
    topics = sorted(topic for mapping in found for topic in mapping["Topics"])
    if len(set(topics)) != len(topics):
        yield f"topics {topics}: one is read twice; want one mapping for each"
    groups = [json.dumps(mapping["AmazonManagedKafkaEventSourceConfig"]) for mapping in found]
    if len(set(groups)) != len(groups):
        yield "two mappings share a consumer group and would take records from each other: name them apart"


def every_mapping_reads_a_topic_and_a_stream_is_known_for_it(stack):
    for name, mapping in mappings(stack).items():
        if not all(mapping["Topics"]):
            yield f"{name}: its topic is empty; make it conditional on the topic's being given"
        if name not in STREAMS:
            yield f"{name}: its stream is not known to the checks; add it to STREAMS"


def topics_that_are_mapped_are_routed_to_their_streams_and_no_others(stack):
    routes = variables(functions(stack)["AggregateFunction"]).get("TOPICS", "").split(",")
    found = mappings(stack).items()
    mapped = [f"{topic}={STREAMS.get(name)}" for name, mapping in found for topic in mapping["Topics"]]
    if mapped and sorted(routes) != sorted(mapped):
        yield f"TOPICS is {routes}, but the mappings want {mapped}: set it from the same parameters"


def functions_are_within_the_limits_of_lambda(stack):
    for name, function in functions(stack).items():
        for excess in beyond_limits({"Timeout": None} | function):
            yield f"{name}: {excess}"


def functions_find_their_whole_environment(stack):
    for name, wanted in ENVIRONMENT.items():
        found = variables(functions(stack)[name])
        for variable in sorted(wanted - found.keys()):
            yield f"{name}: {variable} is missing; the function would run without what the deployer set"
        for variable in sorted(found.keys() - wanted - OPTIONAL.get(name, set())):
            yield f"{name}: {variable} is not known to the checks; add it to ENVIRONMENT, or drop it"


def a_schedule_invokes_the_function_with_its_job(stack):
    for name, schedule in schedules(stack).items():
        if not schedule.get("ScheduleExpression"):
            yield f"{name}: its expression is empty; make it conditional on the parameter's being given"
        target = {key: value for key, value in schedule["Target"].items() if key not in ("RoleArn", "Input")}
        job = schedule["Target"].get("Input")
        if job != JOBS.get(name):
            yield f"{name}: Input is {job}; want {JOBS.get(name)}"
        zone = variables(functions(stack)["ArchiveFunction"]).get("TIME_ZONE")
        if schedule.get("ScheduleExpressionTimezone") != zone:
            yield f"{name}: ScheduleExpressionTimezone is not {zone}, by which the function counts days"
        for key, wanted in SCHEDULED.items():
            found = target if key == "Target" else schedule.get(key)
            if found != wanted:
                yield f"{name}: {key} is {found}; want {wanted}"


def the_alarms_of_jobs_see_what_they_are_there_for(stack):
    for name, wanted in ALARMS.items():
        alarm = stack["Resources"].get(name, {}).get("Properties", {})
        for key, value in wanted.items() if alarm else ():
            if alarm.get(key) != value:
                yield f"{name}: {key} is {alarm.get(key)}; want {value}"


def a_snapshot_that_stays_away_is_called_for_where_one_is_scheduled(stack):
    if ("ArchiveMissingAlarm" in stack["Resources"]) != ("ArchiveTimer" in stack["Resources"]):
        yield "ArchiveMissingAlarm: give it the condition of ArchiveTimer"


def jobs_that_are_given_up_are_kept(stack):
    queue = stack["Resources"][QUEUE]["Properties"]
    if queue.get("SqsManagedSseEnabled") is not True:
        yield f"{QUEUE}: set SqsManagedSseEnabled"
    if queue.get("MessageRetentionPeriod") != 14 * 86400:
        yield f"{QUEUE}: set MessageRetentionPeriod to 14 days, the longest"
    found = [item["Properties"] for item in of_type(stack, "AWS::Lambda::EventInvokeConfig").values()]
    if [{key: config.get(key) for key in TRIES} for config in found] != [TRIES]:
        yield f"ArchiveFunction: its EventInvokeConfig is {found}; want {TRIES}"


def functions_log_json_into_their_own_group(stack):
    for name, function in functions(stack).items():
        config = function.get("LoggingConfig", {})
        if config.get("LogFormat") != "JSON" or config.get("LogGroup", {}).get("Ref") not in stack["Resources"]:
            yield f"{name}: set LoggingConfig to LogFormat JSON and a log group of the template"
    for name, group in of_type(stack, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name}: set RetentionInDays, otherwise log lines are kept and paid for ever"


def the_errors_alarms_see_failures_that_take_the_whole_timeout(stack):
    # Lambda dates an error by its invocation's start, and the next attempt starts when that one has ended.
    for name, waits in WAITS.items():
        alarm = stack["Resources"][name]["Properties"]
        seen = alarm["Period"] * alarm["EvaluationPeriods"]
        needed = alarm["DatapointsToAlarm"] * LIMITS["Timeout"][1] + waits
        if seen < needed:
            yield f"{name}: looks back {seen} s; its datapoints may span {needed} s, add EvaluationPeriods"


def stores_survive_their_stack(stack):
    for name in STORES:
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if stack["Resources"][name].get(policy) != "Retain":
                yield f"{name}: set {policy} to Retain; totals cannot be told from the topics once those have expired"


def tables_are_recoverable_expiring_and_encrypted(stack):
    for name in TABLES:
        table = stack["Resources"][name]["Properties"]
        if table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
            yield f"{name}: enable point-in-time recovery"
        if table.get("TimeToLiveSpecification") != {"AttributeName": "TTL", "Enabled": True}:
            yield f"{name}: enable time to live on the attribute TTL, or expired items are never deleted"
        if table.get("SSESpecification", {}).get("SSEEnabled") is not True:
            yield f"{name}: enable SSESpecification"
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{name}: set BillingMode to PAY_PER_REQUEST; nothing here scales provisioned capacity"


def tables_have_the_keys_that_the_ledger_writes(stack):
    for name in TABLES:
        schema = stack["Resources"][name]["Properties"].get("KeySchema", [])
        keys = {key["KeyType"]: key["AttributeName"] for key in schema}
        if keys != {"HASH": "PK", "RANGE": "SK"}:
            yield f"{name}: the keys are {keys}; the ledger writes PK and SK"


def tables_have_the_indexes_that_are_read(stack):
    for name, wanted in INDEXES.items():
        properties = stack["Resources"][name]["Properties"]
        indexes = {index["IndexName"]: index for index in properties.get("GlobalSecondaryIndexes", [])}
        for index in sorted(indexes.keys() - wanted.keys()):
            yield f"{name}: nobody reads its index {index}, and it is paid for; take it away, or add it to INDEXES"
        types = {definition["AttributeName"]: definition["AttributeType"]
                 for definition in properties["AttributeDefinitions"]}
        for index, (schema, projection, purpose) in wanted.items():
            if index not in indexes:
                yield f"{name}: its index {index} is missing, from which {purpose} are read"
                continue
            keys = {key["KeyType"]: (key["AttributeName"], types.get(key["AttributeName"]))
                    for key in indexes[index]["KeySchema"]}
            if keys != schema:
                yield f"{name}: the keys of {index} are {keys}; the ledger writes {schema}"
            if indexes[index]["Projection"] != {"ProjectionType": projection}:
                yield f"{name}: {index} carries {indexes[index]['Projection']}; {projection} is what is read from it"


def the_bucket_keeps_versions_and_its_privacy(stack):
    bucket = stack["Resources"]["ArchiveBucket"]["Properties"]
    if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "ArchiveBucket: enable versioning; a re-delivered quarantine file must not destroy an older one"
    if not bucket.get("BucketEncryption"):
        yield "ArchiveBucket: set BucketEncryption"
    blocks = bucket.get("PublicAccessBlockConfiguration", {})
    for key in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"):
        if blocks.get(key) is not True:
            yield f"ArchiveBucket: set {key} to true in PublicAccessBlockConfiguration"
    for key in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if not any(key in rule for rule in lifecycle(stack)):
            yield f"ArchiveBucket: a lifecycle rule with {key} is missing; what nobody sees would be paid for ever"
    statements = [
        statement
        for policy in of_type(stack, "AWS::S3::BucketPolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    if not any(
            statement["Effect"] == "Deny"
            and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") in ("false", False)
            for statement in statements):
        yield "ArchiveBucket: its policy must deny requests without TLS (aws:SecureTransport false)"


def files_expire_folder_by_folder(stack):
    days = {rule.get("Prefix"): rule["ExpirationInDays"] for rule in lifecycle(stack) if "ExpirationInDays" in rule}
    kept = variables(functions(stack)["AggregateFunction"]).get("QUARANTINE_RETENTION_DAYS")
    if days.pop("quarantine/", None) != kept:
        yield f"ArchiveBucket: expire quarantine/ after {kept} days, so long the records can be counted after all"
    if days and (days.keys() != ARCHIVED or len(set(days.values())) != 1):
        yield f"ArchiveBucket: files expire after {days} days; want {sorted(ARCHIVED)} to expire together, or to stay"


def every_reference_leads_somewhere(stack):
    for path, node in walk(stack):
        match node:
            case {"Ref": target} if isinstance(target, str):
                targets = [target]
            case {"Fn::GetAtt": target}:
                targets = [target[0] if isinstance(target, list) else target.split(".")[0]]
            case {"Fn::Sub": [text, given]}:
                targets = [name for name in named_in(text) if name not in given]
            case {"Fn::Sub": text}:
                targets = named_in(text)
            case {"Type": str(), "DependsOn": target}:
                targets = listed(target)
            case _:
                continue
        for target in targets:
            if target not in stack["Resources"] and not target.startswith("AWS::"):
                yield f"{path}: {target} is not in this variant of the stack; name one that is, or share its condition"
