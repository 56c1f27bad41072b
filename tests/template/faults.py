"""Faults that must be found: each breaks a sound template in one place, and names the check that is there for it."""

import copy

import role_checks as roles
import source_checks as written
import stack_checks as stacks
from api_faults import API_FAULTS, API_OPTIONAL_FAULTS, API_SOURCE_FAULTS
from breaking import all_of, give, put
from linters import number
from resolve import REMOVED, TEMPLATE, expand, parameters_of, resolve
from tally import SOURCE_CHECKS, STACK_CHECKS, claim
from variants import CLUSTER, VARIANTS

MAPPING = ("ProductUpdatedMapping", "Properties")
FUNCTION = ("AggregateFunction", "Properties")
VARIABLES = (*FUNCTION, "Environment", "Variables")
STATEMENTS = ("AggregateKafkaPolicy", "Properties", "PolicyDocument", "Statement")
STATE_TABLE = ("StateTable", "Properties")
VIEWS_TABLE = ("ViewsTable", "Properties")
UPKEEP = ("UpkeepTimer", "Properties")
ARCHIVE = ("ArchiveFunction", "Properties")
ARCHIVE_VARIABLES = (*ARCHIVE, "Environment", "Variables")
ARCHIVE_RIGHTS = ("ArchiveRole", "Properties", "Policies", 0, "PolicyDocument", "Statement")
TRIES = ("ArchiveFunctionEventInvokeConfig", "Properties")
MISSING = ("ArchiveMissingAlarm", "Properties")
DEAD_LETTERS = ("ArchiveDeadLetters", "Properties")
LIFECYCLE = ("ArchiveBucket", "Properties", "LifecycleConfiguration", "Rules")
TIMERS = ("ArchiveTimer", "ReportTimer", "UpkeepTimer", "AuditTimer")
SCHEDULE_ROLE = ("ScheduleRole", "Properties")
SCHEDULE_TRUST = (*SCHEDULE_ROLE, "AssumeRolePolicyDocument", "Statement", 0)
SCHEDULE_RIGHTS = (*SCHEDULE_ROLE, "Policies", 0, "PolicyDocument", "Statement", 0)
RANKING = (*VIEWS_TABLE, "GlobalSecondaryIndexes", 0)
STATE = {"Fn::GetAtt": ["StateTable", "Arn"]}
VIEWS = {"Fn::GetAtt": ["ViewsTable", "Arn"]}
TOPIC = CLUSTER.replace(":cluster/", ":topic/") + "/shop.returned"
ROUTES = (
    "shop.created=products,shop.updated=products,shop.deleted=products,shop.orders=orders,shop.order_items=orders,"
    "shop.activity=activity,shop.users=user-events,shop.metrics=metrics")

# A fault, what it does to a whole stack, the check that must find it, and the linter's rule that must as well.
FAULTS = [
    ("BatchSize 20000", put(*MAPPING, "BatchSize", to=20000),
     stacks.batches_and_retries_are_within_the_limits_of_lambda, "cfn-lint E3034"),
    ("a batching window of 301 seconds", put(*MAPPING, "MaximumBatchingWindowInSeconds", to=301),
     stacks.batches_and_retries_are_within_the_limits_of_lambda, "cfn-lint E3034"),
    ("a record age of 59 seconds", put(*MAPPING, "MaximumRecordAgeInSeconds", to=59),
     stacks.batches_and_retries_are_within_the_limits_of_lambda, None),
    ("more pollers at least than at most",
     put(*MAPPING, "ProvisionedPollerConfig", to={"MinimumPollers": 3, "MaximumPollers": 2}),
     stacks.batches_and_retries_are_within_the_limits_of_lambda, None),
    ("Timeout 5400", put(*FUNCTION, "Timeout", to=5400), stacks.functions_are_within_the_limits_of_lambda, None),
    ("no Timeout", put(*FUNCTION, "Timeout", to=REMOVED), stacks.functions_are_within_the_limits_of_lambda, None),
    ("a wildcard action", give("dynamodb:*", STATE), roles.no_wildcard_action_is_allowed, None),
    ("a wildcard inside an action", give("dynamodb:Get*", STATE), roles.no_wildcard_action_is_allowed, None),
    ("an unnamed resource", give("dynamodb:GetItem", "*"), roles.every_resource_is_named_where_aws_lets_it_be, None),
    ("a right that is not needed", give("dynamodb:DeleteItem", STATE),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a right of committing to scan", give("dynamodb:Scan", STATE),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a right of committing to query the views", give("dynamodb:Query", VIEWS),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a right to delete rows", give("dynamodb:DeleteItem", VIEWS, "ArchiveRole"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("upkeep that may not see the views", put(*ARCHIVE_RIGHTS, 2, "Action", to="dynamodb:UpdateItem"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("reports that may not read an index", put(*ARCHIVE_RIGHTS, 3, "Resource", 0, to=STATE),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("uploads that may not be given up", put(*ARCHIVE_RIGHTS, 4, "Action", 0, to="s3:GetObject"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("an archive that may not see what is missing", put(*ARCHIVE_RIGHTS, 5, to=REMOVED),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("an archive that reaches the quarantine",
     give("s3:DeleteObject", {"Fn::Sub": "${ArchiveBucket.Arn}/quarantine/*"}, "ArchiveRole"),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a function that may not give jobs up", put(*ARCHIVE_RIGHTS, 6, to=REMOVED),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("rights that a policy adds",
     put(*STATEMENTS, 0, to={"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": STATE}),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("quarantine widened to the bucket", give("s3:PutObject", {"Fn::Sub": "${ArchiveBucket.Arn}/*"}),
     roles.a_role_may_what_its_function_does_and_no_more, None),
    ("a function with the other's role", put(*FUNCTION, "Role", to={"Fn::GetAtt": ["ArchiveRole", "Arn"]}),
     roles.a_function_has_a_role_of_its_own, None),
    ("a topic that may not be read", put(*MAPPING, "Topics", to=["shop.changed"]),
     roles.topics_that_are_mapped_may_be_read_and_no_others, None),
    ("a topic that may be read and is not mapped", give("kafka-cluster:ReadData", TOPIC),
     roles.topics_that_are_mapped_may_be_read_and_no_others, None),
    ("a consumer group that no mapping has", give("kafka-cluster:AlterGroup", TOPIC.replace(":topic/", ":group/")),
     roles.as_many_consumer_groups_may_be_used_as_there_are_mappings, None),
    ("a schedule that may invoke every function",
     put(*SCHEDULE_RIGHTS, "Resource", to={"Fn::Sub": "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:*"}),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule that may invoke more than the function's newest version",
     put(*SCHEDULE_RIGHTS, "Resource", to={"Fn::Sub": "${ArchiveFunction.Arn}:*"}),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule that may do more than invoke",
     put(*SCHEDULE_RIGHTS, "Action", to=["lambda:GetFunction", "lambda:InvokeFunction"]),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule that may not give jobs up",
     put(*SCHEDULE_ROLE, "Policies", 0, "PolicyDocument", "Statement", 1, to=REMOVED),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule that runs as the function",
     put(*UPKEEP, "Target", "RoleArn", to={"Fn::GetAtt": ["ArchiveRole", "Arn"]}),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule's role that other accounts' schedules may use", put(*SCHEDULE_TRUST, "Condition", to=REMOVED),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule's role that a policy adds to",
     put("AggregateKafkaPolicy", "Properties", "Roles", to=[{"Ref": "AggregateRole"}, {"Ref": "ScheduleRole"}]),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a schedule's role without its schedule", all_of(*(put(timer, to=REMOVED) for timer in TIMERS)),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else, None),
    ("a managed policy", put("AggregateRole", "Properties", "ManagedPolicyArns", to=[
        "arn:aws:iam::aws:policy/service-role/AWSLambdaMSKExecutionRole"]), roles.roles_use_no_managed_policy, None),
    ("a table without point-in-time recovery",
     put(*VIEWS_TABLE, "PointInTimeRecoverySpecification", to=REMOVED),
     stacks.tables_are_recoverable_expiring_and_encrypted, "checkov CKV_AWS_28"),
    ("a table without TTL", put(*STATE_TABLE, "TimeToLiveSpecification", to=REMOVED),
     stacks.tables_are_recoverable_expiring_and_encrypted, None),
    ("a table without encryption", put(*STATE_TABLE, "SSESpecification", "SSEEnabled", to=False),
     stacks.tables_are_recoverable_expiring_and_encrypted, "checkov CKV_AWS_119"),
    ("a table with other keys", put(*STATE_TABLE, "KeySchema", 0, "AttributeName", to="rank"),
     stacks.tables_have_the_keys_that_the_ledger_writes, None),
    ("a table without the index board", put(*STATE_TABLE, "GlobalSecondaryIndexes", to=[]),
     stacks.tables_have_the_indexes_that_are_read, None),
    ("views without the index ranking", put(*VIEWS_TABLE, "GlobalSecondaryIndexes", to=REMOVED),
     stacks.tables_have_the_indexes_that_are_read, None),
    ("a ranking that carries whole rows", put(*RANKING, "Projection", "ProjectionType", to="ALL"),
     stacks.tables_have_the_indexes_that_are_read, None),
    ("a ranking in another order", put(*RANKING, "KeySchema", 1, "AttributeName", to="SK"),
     stacks.tables_have_the_indexes_that_are_read, "cfn-lint E3039"),
    ("ranks that are texts", put(*VIEWS_TABLE, "AttributeDefinitions", 3, "AttributeType", to="S"),
     stacks.tables_have_the_indexes_that_are_read, None),
    ("a table that goes with its stack", put("StateTable", "DeletionPolicy", to="Delete"),
     stacks.stores_survive_their_stack, None),
    ("a bucket without versions", put("ArchiveBucket", "Properties", "VersioningConfiguration", to=REMOVED),
     stacks.the_bucket_keeps_versions_and_its_privacy, "checkov CKV_AWS_21"),
    ("a quarantine that is kept longer than its records can be counted", put(*LIFECYCLE, 2, "ExpirationInDays", to=7),
     stacks.files_expire_folder_by_folder, None),
    ("a folder that does not expire with the others", put(*LIFECYCLE, 3, to=REMOVED),
     stacks.files_expire_folder_by_folder, None),
    ("a bucket that expires whole", put(*LIFECYCLE, 3, "Prefix", to=REMOVED),
     stacks.files_expire_folder_by_folder, None),
    ("a bucket that takes plain HTTP", put("ArchiveBucketPolicy", "Properties", "PolicyDocument", "Statement", to=[]),
     stacks.the_bucket_keeps_versions_and_its_privacy, None),
    ("a dangling Ref", put(*VARIABLES, "BUCKET", to={"Ref": "NoSuchBucket"}),
     stacks.every_reference_leads_somewhere, "cfn-lint E1020"),
    ("a dangling GetAtt", put(*FUNCTION, "Role", to={"Fn::GetAtt": ["NoSuchRole", "Arn"]}),
     stacks.every_reference_leads_somewhere, "cfn-lint E1010"),
    ("a dangling Sub", give("s3:PutObject", {"Fn::Sub": "${NoSuchBucket.Arn}/quarantine/*"}),
     stacks.every_reference_leads_somewhere, "cfn-lint E1019"),
    ("a dangling DependsOn", put("ProductUpdatedMapping", "DependsOn", to="NoSuchPolicy"),
     stacks.every_reference_leads_somewhere, "cfn-lint E3005"),
    ("a missing variable", put(*VARIABLES, "SOURCE_EPOCH", to=REMOVED),
     stacks.functions_find_their_whole_environment, None),
    ("an unknown variable", put(*VARIABLES, "TOPIC", to="shop.created"),
     stacks.functions_find_their_whole_environment, None),
    ("missing TOPICS", put(*VARIABLES, "TOPICS", to=REMOVED),
     stacks.functions_find_their_whole_environment, None),
    ("a missing variable of a new stream", put(*VARIABLES, "ACTIVITY_RETENTION_DAYS", to=REMOVED),
     stacks.functions_find_their_whole_environment, None),
    ("an archive without its pace", put(*ARCHIVE_VARIABLES, "ARCHIVE_READ_UNITS", to=REMOVED),
     stacks.functions_find_their_whole_environment, None),
    ("a schedule of another job", put(*UPKEEP, "Target", "Input", to='{"job": "cleaning"}'),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("an audit that is asked for upkeep", put("AuditTimer", "Properties", "Target", "Input", to='{"job": "upkeep"}'),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a report for the time it comes at", put("ReportTimer", "Properties", "Target", "Input", to='{"job": "report"}'),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a day of another zone", put("ArchiveTimer", "Properties", "ScheduleExpressionTimezone", to="UTC"),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule that gives jobs up for good", put(*UPKEEP, "Target", "DeadLetterConfig", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule that has committing do its job",
     put(*UPKEEP, "Target", "Arn", to={"Fn::GetAtt": ["AggregateFunction", "Arn"]}),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a drift alarm of another metric", put("AuditDriftAlarm", "Properties", "MetricName", to="AuditRepaired"),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("a drift alarm of the other function",
     put("AuditDriftAlarm", "Properties", "Dimensions", 0, "Value", to="aggregate"),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("an alarm that takes silence for a snapshot", put(*MISSING, "TreatMissingData", to="notBreaching"),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("an alarm that waits a week for a snapshot", put(*MISSING, "EvaluationPeriods", to=168),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("an alarm that waits longer than CloudWatch does", put(*MISSING, "EvaluationPeriods", to=169),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("an alarm on another queue", put("ArchiveDeadLettersAlarm", "Properties", "Dimensions", 0, "Value", to="jobs"),
     stacks.the_alarms_of_jobs_see_what_they_are_there_for, None),
    ("snapshots that nobody misses", put("ArchiveMissingAlarm", to=REMOVED),
     stacks.a_snapshot_that_stays_away_is_called_for_where_one_is_scheduled, None),
    ("jobs given up in the open", put(*DEAD_LETTERS, "SqsManagedSseEnabled", to=REMOVED),
     stacks.jobs_that_are_given_up_are_kept, None),
    ("jobs given up that are forgotten in four days", put(*DEAD_LETTERS, "MessageRetentionPeriod", to=REMOVED),
     stacks.jobs_that_are_given_up_are_kept, None),
    ("jobs that fail into nothing", put(*TRIES, "DestinationConfig", to=REMOVED),
     stacks.jobs_that_are_given_up_are_kept, None),
    ("jobs that are tried for six hours", put(*TRIES, "MaximumEventAgeInSeconds", to=21600),
     stacks.jobs_that_are_given_up_are_kept, None),
    ("a schedule without an input", put(*UPKEEP, "Target", "Input", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule of something else than the function",
     put(*UPKEEP, "Target", "Arn", to={"Fn::GetAtt": ["StateTable", "Arn"]}),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule that is switched off", put(*UPKEEP, "State", to="DISABLED"),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule that comes when it likes",
     put(*UPKEEP, "FlexibleTimeWindow", to={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a schedule that retries for a day", put(*UPKEEP, "Target", "RetryPolicy", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job, None),
    ("a mapping of an empty topic", put(*MAPPING, "Topics", to=[""]),
     stacks.every_mapping_reads_a_topic_and_a_stream_is_known_for_it, None),
    ("a topic that is not routed", put(*VARIABLES, "TOPICS", to=ROUTES.replace("shop.deleted=products,", "")),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others, None),
    ("an empty topic that is routed", put(*VARIABLES, "TOPICS", to=f"=activity,{ROUTES}"),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others, None),
    ("a topic that is routed to another stream",
     put(*VARIABLES, "TOPICS", to=ROUTES.replace("users=user-events", "users=activity")),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others, None),
    ("TOPICS that do not follow the parameters",
     put(*VARIABLES, "TOPICS", to=ROUTES.replace("shop.created", "product.created")),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others, None),
    ("a topic without a mapping", put("MetricsMapping", to=REMOVED),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others, None),
    ("a mapping without BatchSize", put(*MAPPING, "BatchSize", to=REMOVED),
     stacks.mappings_carry_every_batching_and_retry_parameter, None),
    ("a mapping without a retry limit", put(*MAPPING, "MaximumRetryAttempts", to=REMOVED),
     stacks.mappings_carry_every_batching_and_retry_parameter, None),
    ("retries limited without provisioned pollers", put(*MAPPING, "ProvisionedPollerConfig", to=REMOVED),
     stacks.mappings_carry_every_batching_and_retry_parameter, None),
    ("batches given up without a destination", put(*MAPPING, "DestinationConfig", to=REMOVED),
     stacks.nothing_is_dropped, None),
    ("partial batch responses", put(*MAPPING, "FunctionResponseTypes", to=["ReportBatchItemFailures"]),
     stacks.nothing_is_dropped, None),
    ("a shared consumer group",
     put(*MAPPING, "AmazonManagedKafkaEventSourceConfig", to={"ConsumerGroupId": "catalogue-created"}),
     stacks.each_topic_has_one_mapping_and_a_group_of_its_own, None),
    ("a topic read twice", put(*MAPPING, "Topics", to=["shop.created"]),
     stacks.each_topic_has_one_mapping_and_a_group_of_its_own, None),
    ("plain text logs", put(*FUNCTION, "LoggingConfig", "LogFormat", to="Text"),
     stacks.functions_log_json_into_their_own_group, None),
    ("an errors alarm that looks back five minutes",
     put("AggregateErrorsAlarm", "Properties", "EvaluationPeriods", to=5),
     stacks.the_errors_alarms_see_failures_that_take_the_whole_timeout, None),
    ("an errors alarm that misses the last of three tries",
     put("ArchiveErrorsAlarm", "Properties", "EvaluationPeriods", to=45),
     stacks.the_errors_alarms_see_failures_that_take_the_whole_timeout, None),
    *API_FAULTS,
]

# The same on the template as written.
SOURCE_FAULTS = [
    ("a parameter without a description", put("Timeout", "Description", to=REMOVED, under="Parameters"),
     written.every_parameter_says_what_it_is),
    ("a number without bounds", put("SourceEpoch", "MinValue", to=REMOVED, under="Parameters"),
     written.every_number_has_bounds),
    ("a timeout parameter that allows 5400", put("Timeout", "MaxValue", to=5400, under="Parameters"),
     written.no_deployer_can_pass_a_limit_of_lambda),
    ("an archive's timeout that allows 5400", put("ArchiveTimeout", "MaxValue", to=5400, under="Parameters"),
     written.no_deployer_can_pass_a_limit_of_lambda),
    ("a parameter outside the groups", put("Extra", to={"Type": "String", "Default": ""}, under="Parameters"),
     written.every_parameter_is_listed_in_one_group),
    ("a variable that is set from another's parameter",
     put(*VARIABLES, "METRICS_RETENTION_DAYS", to={"Ref": "ActivityRetentionDays"}),
     written.variables_are_set_from_the_parameters_of_their_names),
    ("a table key that the local stack cannot read",
     put(*STATE_TABLE, "TimeToLiveSpecification", "AttributeName", to={"Ref": "Ttl"}),
     written.the_local_stack_can_read_the_tables),
    ("a consumer group that the policy does not know",
     put(*MAPPING, "AmazonManagedKafkaEventSourceConfig", "ConsumerGroupId", to="another"),
     written.consumer_groups_are_named_alike_in_mapping_and_policy),
    *API_SOURCE_FAULTS,
]

# And where a condition is not the parameter's own, in a stack that leaves topics and upkeep out.
OPTIONAL = "products alone"
OPTIONAL_FAULTS = [
    ("a mapping that does not ask for its topic", put("OrdersMapping", "Condition", to="KafkaGiven"),
     stacks.every_mapping_reads_a_topic_and_a_stream_is_known_for_it),
    ("a route that does not ask for its topic",
     put(*VARIABLES, "TOPICS", "Fn::Join", 1, 3, "Fn::If", 0, to="KafkaGiven"),
     stacks.topics_that_are_mapped_are_routed_to_their_streams_and_no_others),
    ("a right to read that does not ask for its topic",
     put(*STATEMENTS, 2, "Resource", 3, "Fn::If", 0, to="KafkaGiven"),
     roles.topics_that_are_mapped_may_be_read_and_no_others),
    ("a right to a group that does not ask for its topic",
     put(*STATEMENTS, 3, "Resource", 3, "Fn::If", 0, to="KafkaGiven"),
     roles.as_many_consumer_groups_may_be_used_as_there_are_mappings),
    ("a schedule that does not ask for its expression", put("UpkeepTimer", "Condition", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job),
    ("an audit's schedule that does not ask for its expression", put("AuditTimer", "Condition", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job),
    ("an archive's schedule that does not ask for its expression", put("ArchiveTimer", "Condition", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job),
    ("reports' schedule that does not ask for its expression", put("ReportTimer", "Condition", to=REMOVED),
     stacks.a_schedule_invokes_the_function_with_its_job),
    ("an alarm for snapshots that nothing takes", put("ArchiveMissingAlarm", "Condition", to=REMOVED),
     stacks.a_snapshot_that_stays_away_is_called_for_where_one_is_scheduled),
    ("a schedule's role that does not ask for its schedule", put("ScheduleRole", "Condition", to=REMOVED),
     roles.the_role_of_a_schedule_may_invoke_the_function_and_nothing_else),
    *API_OPTIONAL_FAULTS,
]


def broken(template, fault):
    template = copy.deepcopy(template)
    fault(template)
    return template


def self_test(source, linters, tally):
    """Whether each fault is found, by the check and by the linter that are there for it."""
    sound = resolve(expand(source), parameters_of(source, VARIANTS["everything"]))
    faulty = {what: broken(sound, fault) for what, fault, _, _ in FAULTS}
    findings = {
        tool: lint({"sound": sound} | {what: faulty[what] for what, _, _, rule in FAULTS if rule and tool in rule})
        for tool, lint in (("cfn-lint", linters.cfn_lint), ("checkov", linters.checkov_findings))}

    for what, _, check, rule in FAULTS:
        tally.add(f"finds {what}", [*missed(check, sound, faulty[what]), *overlooked(rule, findings, what)])
    for what, fault, check in SOURCE_FAULTS:
        tally.add(f"finds {what}", missed(check, source, broken(source, fault)))
    values = parameters_of(source, VARIANTS[OPTIONAL])
    sound = resolve(expand(source), values)
    for what, fault, check in OPTIONAL_FAULTS:
        tally.add(f"finds {what}", missed(check, sound, resolve(expand(broken(source, fault)), values)))

    tested = {check for _, _, check, _ in FAULTS} | {check for _, _, check in SOURCE_FAULTS}
    tally.add("every check has a fault that it must find", (
        f"{claim(check)}: add one to FAULTS or SOURCE_FAULTS"
        for check in SOURCE_CHECKS + STACK_CHECKS if check not in tested))

    file = linters.folder / "template.yaml"
    file.write_text(TEMPLATE.read_text().replace("!GetAtt StateTable.Arn", "!GetAtt NoSuchTable.Arn"))
    tally.add("finds a dangling reference with sam validate --lint", (
        [] if linters.sam_validate(file) else ["sam accepted it"]))


def missed(check, sound, faulty):
    if list(check(sound)):
        yield f"'{claim(check)}' fails on the sound template already: repair that first"
    elif not list(check(faulty)):
        yield f"'{claim(check)}' did not find it"


def overlooked(rule, findings, what):
    if not rule:
        return
    tool, wanted = rule.split()
    new = [finding for finding in findings[tool][what] if finding not in findings[tool]["sound"]]
    if wanted not in map(number, new):
        yield f"{rule} did not find it; {tool} said {new}"
