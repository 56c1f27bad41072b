"""Holds template.yaml to what deploying it will demand, without an account and without the network.

Linters that read the template as it is written miss what hides behind parameters, conditions and the SAM transform.
So the template is expanded and resolved first, once as a stack without Kafka (every default) and once with every
option switched on; then cfn-lint, checkov and the checks below read plain resources. What only AWS can tell (whether
a cluster, key or subnet exists, whether a quota holds) is not for here.

    validate.py               validate the template
    validate.py --self-test   break the template on purpose and see that each fault is found
"""

import argparse
import copy
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Before the SAM libraries load: they read the region and would look for credentials on the network.
os.environ |= {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAM_CLI_TELEMETRY": "0",
    "LOG_LEVEL": "ERROR",
}

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns at exit that nobody collected its metrics

TOP = Path(__file__).resolve().parents[2]
TEMPLATE = TOP / "template.yaml"

CLUSTER = "arn:aws:kafka:us-east-1:111122223333:cluster/shop/0b3a1f9c-5d0e-4b8f-9c52-0d7e5f1a2b3c-4"
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

# Parameters per variant; what is not named has its default. Together they must turn every condition both ways.
VARIANTS = {
    "defaults": {},
    "everything": {
        "MskClusterArn": CLUSTER,
        "CreatedConsumerGroupId": "catalogue-created",
        "UpdatedConsumerGroupId": "catalogue-updated",
        "DeletedConsumerGroupId": "catalogue-deleted",
        "KafkaSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:AmazonMSK_tidemark-a1b2c3",
        "KafkaSecretKmsKeyArn": KEY,
        "MaximumRetryAttempts": "50",
        "MaximumRecordAgeInSeconds": "86400",
        "BisectBatchOnFunctionError": "true",
        "OnFailureDestinationArn": "arn:aws:s3:::tidemark-given-up",
        "ProvisionedMode": "true",
        "PollerGroupName": "tidemark",
        "SubnetIds": "subnet-0a1b2c3d4e5f60718,subnet-0a1b2c3d4e5f60719",
        "SecurityGroupIds": "sg-0a1b2c3d4e5f60718",
        "KmsKeyArn": KEY,
        "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:on-call",
        "Tracing": "Active",
    },
}

# Parameters that the template's own rules must refuse before anything is created.
REFUSED = {
    "a retry limit without provisioned pollers": {
        "MaximumRetryAttempts": "5", "OnFailureDestinationArn": "arn:aws:s3:::tidemark-given-up"},
    "bisecting without provisioned pollers": {"BisectBatchOnFunctionError": "true"},
    "a retry limit that drops records": {"MaximumRetryAttempts": "5", "ProvisionedMode": "true"},
    "a record age that drops records": {"MaximumRecordAgeInSeconds": "3600", "ProvisionedMode": "true"},
}

ENVIRONMENT = {
    "AggregateFunction": {
        "STATE_TABLE", "VIEWS_TABLE", "BUCKET", "TOPICS", "SOURCE_EPOCH", "LOW_STOCK_THRESHOLD", "TOMBSTONE_RETENTION_DAYS",
        "PLAN_RETENTION_DAYS", "CONCURRENCY", "RETRY_MAX_ATTEMPTS", "RETRY_INITIAL_MS", "RETRY_FACTOR",
        "RETRY_CAP_MS", "METRICS_NAMESPACE",
    },
}
TABLES = ("StateTable", "ViewsTable")
PRODUCT_TOPICS = {"product.created", "product.updated", "product.deleted"}

# What the commit protocol does to each store, and so all that the role may.
STORE_ACTIONS = {
    "StateTable.Arn": {
        "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
        "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"},
    "ViewsTable.Arn": {"dynamodb:UpdateItem"},
    "ArchiveBucket.Arn/quarantine/*": {"s3:PutObject"},
}

# Actions for which AWS defines no resource, so that '*' is the narrowest there is.
WITHOUT_RESOURCE = {
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
    "kafka:GetBootstrapBrokers",
    "xray:PutTelemetryRecords", "xray:PutTraceSegments",
}

MAPPING_ALWAYS = {
    "StartingPosition", "Enabled", "BatchSize", "MaximumBatchingWindowInSeconds",
    "AmazonManagedKafkaEventSourceConfig", "Topics", "EventSourceArn",
}
# Lambda refuses these for Kafka unless pollers are provisioned.
MAPPING_PROVISIONED = {"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError"}
MAPPING_OPTIONAL = {"DestinationConfig", "ProvisionedPollerConfig", "SourceAccessConfigurations"}

# Findings of checkov that are meant to be so, per variant. One that no longer appears must leave its list.
ALWAYS_ACCEPTED = {
    "CKV_AWS_18": "access logs of the archive would need a second bucket; CloudTrail data events serve who wants them",
    "CKV_AWS_115": "partitions bound how many invocations run; a reservation would take from the account's other functions",
    "CKV_AWS_116": "a function's dead-letter queue serves asynchronous calls only; mappings retry or use their destination",
    "CKV_AWS_158": "log lines hold names, offsets and reasons, no record; CloudWatch encrypts them with its own key",
    "CKV_AWS_173": "the environment holds names and numbers, no secret",
}
ACCEPTED = {
    "defaults": ALWAYS_ACCEPTED | {
        "CKV_AWS_117": "the function talks to DynamoDB and S3 alone; a network of its own is the deployer's choice",
        "CKV_AWS_119": "the default is the key that AWS manages; KmsKeyArn brings one's own",
    },
    "everything": ALWAYS_ACCEPTED,
}


class Broken(Exception):
    """The template cannot be read far enough to check it."""


# --- From the template to plain resources ---------------------------------------------------------------------------

REMOVED = object()


def expand(source, parameters):
    """The template after the SAM transform, with its intrinsic functions still in place."""

    class NoManagedPolicies:
        def load(self):
            return {}

    source = copy.deepcopy(source)
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://tidemark-code/function.zip"
    return transform(source, parameters, NoManagedPolicies())


def parameters_of(source, overrides):
    """Every parameter's value as CloudFormation would take it: a string."""
    if unknown := overrides.keys() - source["Parameters"].keys():
        raise Broken(f"no parameter {', '.join(sorted(unknown))}: adapt VARIANTS to the template")
    values = {}
    for name, parameter in source["Parameters"].items():
        if name not in overrides and "Default" not in parameter:
            raise Broken(f"parameter {name} has no default: give it one, a first deployment must ask for nothing")
        values[name] = str(overrides.get(name, parameter.get("Default")))
    return values


def holds(test, parameters, conditions):
    """Evaluates a condition or the condition of a rule."""
    [(function, argument)] = test.items()

    def value(node):
        match node:
            case {"Ref": name}:
                return parameters[name]
            case {"Fn::Join": [separator, {"Ref": name}]}:
                return separator.join(parameters[name].split(","))
        return str(node)

    match function:
        case "Condition":
            return holds(conditions[argument], parameters, conditions)
        case "Fn::Equals":
            return value(argument[0]) == value(argument[1])
        case "Fn::Not":
            return not holds(argument[0], parameters, conditions)
        case "Fn::And":
            return all(holds(each, parameters, conditions) for each in argument)
        case "Fn::Or":
            return any(holds(each, parameters, conditions) for each in argument)
    raise Broken(f"cannot evaluate {function} in a condition: teach validate.py or write it with Equals, Not, And, Or")


def violated_rules(source, parameters):
    return [
        assertion["AssertDescription"]
        for rule in source.get("Rules", {}).values()
        if "RuleCondition" not in rule or holds(rule["RuleCondition"], parameters, {})
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], parameters, {})
    ]


def resolve(expanded, source, parameters):
    """The resources that a stack with these parameters would have: no parameter and no condition is left."""
    conditions = expanded.get("Conditions", {})
    truth = {name: holds(test, parameters, conditions) for name, test in conditions.items()}

    def true(name):
        if name not in truth:
            raise Broken(f"condition {name} is used and not defined: add it to Conditions, or correct its name")
        return truth[name]

    def typed(name):
        text, kind = parameters[name], source["Parameters"][name]["Type"]
        if kind == "Number":
            return float(text) if "." in text else int(text)
        if kind == "CommaDelimitedList":
            return [part for part in text.split(",") if part]
        return text

    def text_of(text):
        filled = re.sub(r"\$\{(\w+)\}", lambda m: parameters.get(m[1], m[0]), text)
        return {"Fn::Sub": filled} if "${" in filled else filled

    def plain(node):
        match node:
            case {"Ref": "AWS::NoValue"}:
                return REMOVED
            case {"Ref": name} if name in parameters:
                return typed(name)
            case {"Fn::If": [condition, then, otherwise]}:
                return plain(then if true(condition) else otherwise)
            case {"Fn::Sub": str(text)}:
                return text_of(text)
            case dict():
                kept = {key: value for key, child in node.items() if (value := plain(child)) is not REMOVED}
                return folded(kept)
            case list():
                return [value for child in node if (value := plain(child)) is not REMOVED]
        return node

    def folded(node):
        match node:
            case {"Fn::Split": [separator, str(text)]}:
                return text.split(separator)
            case {"Fn::Select": [index, [*parts]]}:
                return parts[int(index)]
            case {"Fn::Join": [separator, [*parts]]} if all(isinstance(part, str) for part in parts):
                return separator.join(parts)
        return node

    def section(name):
        present = {}
        for key, item in expanded.get(name, {}).items():
            if "Condition" not in item or true(item["Condition"]):
                present[key] = plain({k: v for k, v in item.items() if k != "Condition"})
        return present

    return {
        "AWSTemplateFormatVersion": expanded["AWSTemplateFormatVersion"],
        "Resources": section("Resources"),
        "Outputs": section("Outputs"),
    }, truth


# --- Reading plain resources ----------------------------------------------------------------------------------------


def walk(node, path=""):
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from walk(child, f"{path}/{key}")


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def mappings(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::Lambda::EventSourceMapping").items()}


def functions(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::Lambda::Function").items()}


def allowed(template):
    """Every statement that allows something. Denials may be as wide as they like."""
    for path, node in walk(template["Resources"]):
        if isinstance(node, dict) and node.get("Effect") == "Allow":
            yield path, node


def listed(value):
    return value if isinstance(value, list) else [value]


def readable(resource):
    """A resource of a policy as one string: `StateTable.Arn`, `ArchiveBucket.Arn/quarantine/*`."""
    match resource:
        case {"Fn::GetAtt": [*parts]}:
            return ".".join(parts)
        case {"Fn::Sub": text}:
            return text.replace("${", "").replace("}", "")
    return resource if isinstance(resource, str) else json.dumps(resource)


# --- The checks -----------------------------------------------------------------------------------------------------
# Each yields what is wrong and what to do. On `source` they see the template as written, on `stack` a resolved one.

SOURCE_CHECKS, STACK_CHECKS = [], []


def on_source(check):
    SOURCE_CHECKS.append(check)
    return check


def on_stack(check):
    STACK_CHECKS.append(check)
    return check


@on_source
def every_parameter_says_what_it_is(source):
    for name, parameter in source["Parameters"].items():
        if not parameter.get("Description"):
            yield f"parameter {name} has no Description: say what it does and what its default means"


@on_source
def every_number_has_bounds(source):
    for name, parameter in source["Parameters"].items():
        if parameter["Type"] == "Number" and not parameter.keys() & {"MinValue", "AllowedValues"}:
            yield f"parameter {name} takes any number: give it a MinValue, or AllowedValues"


@on_source
def no_deployer_can_pass_a_limit_of_lambda(source):
    limits = {
        "BatchSize": (1, 10000), "MaximumBatchingWindowInSeconds": (0, 300), "Timeout": (1, 900),
        "MemorySize": (128, 10240), "MaximumRetryAttempts": (-1, 10000), "MaximumRecordAgeInSeconds": (-1, 604800),
        "MinimumPollers": (1, 200), "MaximumPollers": (1, 2000),
    }
    for name, (low, high) in limits.items():
        parameter = source["Parameters"].get(name, {})
        if (parameter.get("MinValue"), parameter.get("MaxValue")) != (low, high):
            yield f"parameter {name}: set MinValue {low} and MaxValue {high}, the limits of Lambda"


@on_source
def every_parameter_is_listed_in_one_group(source):
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    for name in sorted(set(grouped) ^ source["Parameters"].keys() | {n for n in grouped if grouped.count(n) > 1}):
        yield f"parameter {name}: list it once under AWS::CloudFormation::Interface, or drop it there"


@on_source
def the_local_stack_can_read_the_tables(source):
    for name in TABLES:
        properties = source["Resources"][name]["Properties"]
        for key in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "TimeToLiveSpecification"):
            for path, node in walk(properties.get(key), f"{name}.{key}"):
                if isinstance(node, dict) and any(k == "Ref" or k.startswith("Fn::") for k in node):
                    yield f"{path}: write a plain value, the local stack creates its tables from it"


@on_source
def consumer_groups_are_named_alike_in_mapping_and_policy(source):
    resources = source["Resources"]
    policy = json.dumps(resources["AggregateKafkaPolicy"]["Properties"]["PolicyDocument"])
    for name, mapping in of_type(source, "AWS::Lambda::EventSourceMapping").items():
        group = mapping["Properties"]["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]
        if json.dumps(group) not in policy:
            yield f"{name}: its ConsumerGroupId is not in AggregateKafkaPolicy, word for word; copy it there"


@on_stack
def batches_and_retries_are_within_the_limits_of_lambda(stack):
    for name, mapping in mappings(stack).items():
        size = mapping.get("BatchSize")
        if not isinstance(size, int) or not 1 <= size <= 10000:
            yield f"{name}: BatchSize is {size}; Lambda takes 1 to 10000 for Kafka"
        window = mapping.get("MaximumBatchingWindowInSeconds")
        if not isinstance(window, int) or not 0 <= window <= 300:
            yield f"{name}: MaximumBatchingWindowInSeconds is {window}; Lambda takes 0 to 300"
        retries = mapping.get("MaximumRetryAttempts", -1)
        if not -1 <= retries <= 10000:
            yield f"{name}: MaximumRetryAttempts is {retries}; Lambda takes -1 to 10000"
        age = mapping.get("MaximumRecordAgeInSeconds", -1)
        if age != -1 and not 60 <= age <= 604800:
            yield f"{name}: MaximumRecordAgeInSeconds is {age}; Lambda takes -1, or 60 to 604800"
        pollers = mapping.get("ProvisionedPollerConfig")
        if pollers and not 1 <= pollers["MinimumPollers"] <= pollers["MaximumPollers"] <= 2000:
            yield f"{name}: {pollers}; keep 1 <= MinimumPollers <= MaximumPollers <= 2000"


@on_stack
def mappings_carry_every_batching_and_retry_parameter(stack):
    for name, mapping in mappings(stack).items():
        provisioned = "ProvisionedPollerConfig" in mapping
        wanted = MAPPING_ALWAYS | (MAPPING_PROVISIONED if provisioned else set())
        for key in sorted(wanted - mapping.keys()):
            yield f"{name}: {key} is missing; pass the parameter of that name"
        if not provisioned:
            for key in sorted(MAPPING_PROVISIONED & mapping.keys()):
                yield f"{name}: Lambda refuses {key} for Kafka without provisioned pollers; make it conditional"


@on_stack
def nothing_is_dropped(stack):
    for name, mapping in mappings(stack).items():
        gives_up = mapping.get("MaximumRetryAttempts", -1) != -1 or mapping.get("MaximumRecordAgeInSeconds", -1) != -1
        if gives_up and "DestinationConfig" not in mapping:
            yield f"{name}: gives batches up without a destination; retry for ever (-1) or give it one"
        if mapping.get("StartingPosition") != "TRIM_HORIZON":
            yield f"{name}: StartingPosition skips records; the default must be TRIM_HORIZON"
        if "FunctionResponseTypes" in mapping:
            yield f"{name}: drop FunctionResponseTypes; the function reports no partial failures"


@on_stack
def each_topic_has_one_mapping_and_a_group_of_its_own(stack):
    found = mappings(stack)
    if not found:
        return
    topics = [topic for mapping in found.values() for topic in mapping["Topics"]]
    if sorted(topics) != sorted(PRODUCT_TOPICS):
        yield f"topics {sorted(topics)}: want one mapping for each of {sorted(PRODUCT_TOPICS)}"
    groups = [json.dumps(mapping["AmazonManagedKafkaEventSourceConfig"]) for mapping in found.values()]
    if len(set(groups)) != len(groups):
        yield "two mappings share a consumer group and would take records from each other: name them apart"


@on_stack
def functions_end_within_900_seconds(stack):
    for name, function in functions(stack).items():
        timeout = function.get("Timeout")
        if not isinstance(timeout, int) or not 1 <= timeout <= 900:
            yield f"{name}: Timeout is {timeout}; Lambda allows 1 to 900 seconds"


@on_stack
def functions_find_their_whole_environment(stack):
    for name, wanted in ENVIRONMENT.items():
        found = functions(stack)[name].get("Environment", {}).get("Variables", {})
        for variable in sorted(wanted - found.keys()):
            yield f"{name}: {variable} is missing; the function fails at its cold start without it"
        for variable in sorted(found.keys() - wanted):
            yield f"{name}: {variable} is not known to validate.py; add it to ENVIRONMENT, or drop it"


@on_stack
def functions_log_json_into_their_own_group(stack):
    for name, function in functions(stack).items():
        logging = function.get("LoggingConfig", {})
        if logging.get("LogFormat") != "JSON" or logging.get("LogGroup", {}).get("Ref") not in stack["Resources"]:
            yield f"{name}: set LoggingConfig to LogFormat JSON and a log group of the template"
    for name, group in of_type(stack, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name}: set RetentionInDays, otherwise log lines are kept and paid for ever"


@on_stack
def no_wildcard_action_is_allowed(stack):
    for path, statement in allowed(stack):
        for action in listed(statement.get("Action", [])):
            if "*" in action or "?" in action:
                yield f"{path}: {action} allows more than it says; list the actions one by one"
        if statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}:
            yield f"{path}: allows everything but a few; list what is needed instead"


@on_stack
def every_resource_is_named_where_aws_lets_it_be(stack):
    for path, statement in allowed(stack):
        if "*" in listed(statement.get("Resource", [])):
            for action in sorted(set(listed(statement["Action"])) - WITHOUT_RESOURCE):
                yield f"{path}: {action} on Resource '*'; name the resource"


@on_stack
def the_role_may_what_the_commit_protocol_does_and_no_more(stack):
    granted = {}
    for _, statement in allowed(stack):
        for resource in map(readable, listed(statement.get("Resource", []))):
            if resource.split(".")[0] in (*TABLES, "ArchiveBucket"):
                granted.setdefault(resource, set()).update(listed(statement["Action"]))
    for resource in sorted(granted.keys() | STORE_ACTIONS.keys()):
        want, have = STORE_ACTIONS.get(resource, set()), granted.get(resource, set())
        if want - have:
            yield f"{resource}: the function needs {sorted(want - have)}; allow it"
        if have - want:
            yield f"{resource}: the function never calls {sorted(have - want)}; take it away, or add it to STORE_ACTIONS"


@on_stack
def roles_use_no_managed_policy(stack):
    for name, role in of_type(stack, "AWS::IAM::Role").items():
        if role["Properties"].get("ManagedPolicyArns"):
            yield f"{name}: a managed policy changes and widens by itself; write its statements out"


@on_stack
def stores_survive_their_stack(stack):
    for name in (*TABLES, "ArchiveBucket"):
        resource = stack["Resources"][name]
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if resource.get(policy) != "Retain":
                yield f"{name}: set {policy} to Retain; totals cannot be told from the topics once those have expired"


@on_stack
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
        keys = {key["KeyType"]: key["AttributeName"] for key in table.get("KeySchema", [])}
        if keys != {"HASH": "PK", "RANGE": "SK"}:
            yield f"{name}: the keys are {keys}; the ledger writes PK and SK"
    indexes = stack["Resources"]["StateTable"]["Properties"].get("GlobalSecondaryIndexes", [])
    board = [index for index in indexes if index["IndexName"] == "board"]
    if not board or [key["AttributeName"] for key in board[0]["KeySchema"]] != ["board", "rank"]:
        yield "StateTable: the index board over (board, rank) is missing; low stock is read from it"


@on_stack
def the_bucket_keeps_versions_and_its_privacy(stack):
    bucket = stack["Resources"]["ArchiveBucket"]["Properties"]
    if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "ArchiveBucket: enable versioning; a re-delivered quarantine file must not destroy an older one"
    if not bucket.get("BucketEncryption"):
        yield "ArchiveBucket: set BucketEncryption"
    blocks = bucket.get("PublicAccessBlockConfiguration", {})
    if [blocks.get(key) for key in (
        "BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")] != [True] * 4:
        yield "ArchiveBucket: block public access in all four ways"
    rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
    for key in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if not any(key in rule for rule in rules):
            yield f"ArchiveBucket: a lifecycle rule with {key} is missing; what nobody sees would be paid for ever"
    denials = [
        statement
        for policy in of_type(stack, "AWS::S3::BucketPolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") in ("false", False)
    ]
    if not denials:
        yield "ArchiveBucket: its policy must deny requests without TLS (aws:SecureTransport false)"


@on_stack
def every_reference_leads_somewhere(stack):
    names = stack["Resources"].keys()
    for path, node in walk(stack):
        match node:
            case {"Ref": target} if isinstance(target, str):
                targets = [target]
            case {"Fn::GetAtt": target}:
                targets = [target[0] if isinstance(target, list) else target.split(".")[0]]
            case {"Fn::Sub": text}:
                targets = [part.split(".")[0] for part in re.findall(r"\$\{([^!}][^}]*)\}", str(text))]
            case {"Type": str(), "DependsOn": target}:
                targets = listed(target)
            case _:
                continue
        for target in targets:
            if target not in names and not target.startswith("AWS::"):
                yield f"{path}: {target} is not in this variant of the stack; name an existing one, or share its condition"


# --- The linters ----------------------------------------------------------------------------------------------------


class Linters:
    def __init__(self, checkov, folder):
        self.checkov, self.folder = checkov, Path(folder)

    def tool(self, *command):
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=self.folder)

    def sam_validate(self, template):
        """What `sam validate --lint` says of the template as written, or nothing."""
        run = self.tool(Path(sys.executable).with_name("sam"), "validate", "--lint", "--template", template)
        return [] if run.returncode == 0 else [(run.stdout + run.stderr).strip()]

    def cfn_lint(self, templates):
        """Findings by the template's name."""
        files = self.write(templates)
        run = self.tool(Path(sys.executable).with_name("cfn-lint"), "--format", "json", "--", *files)
        try:
            findings = json.loads(run.stdout or "[]")
        except json.JSONDecodeError:
            raise Broken(f"cfn-lint failed:\n{run.stdout}{run.stderr}")
        if run.returncode and not findings:
            raise Broken(f"cfn-lint failed:\n{run.stderr}")
        return self.by_name(
            templates,
            ((f["Filename"], f"{f['Rule']['Id']} {f['Message']} at {'/'.join(map(str, f['Location']['Path'] or []))}")
             for f in findings))

    def checkov_findings(self, templates):
        """Findings by the template's name, each with its check's id before the colon."""
        files = self.write(templates)
        run = self.tool(
            self.checkov, "--framework", "cloudformation", "--skip-download", "--compact", "--quiet", "--output",
            "json", *(part for file in files for part in ("--file", file)))
        try:
            results = json.loads(run.stdout)["results"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise Broken(f"checkov failed:\n{run.stdout}{run.stderr}")
        if results.get("parsing_errors"):
            raise Broken(f"checkov could not read {results['parsing_errors']}")
        return self.by_name(
            templates,
            ((f["file_path"], f"{f['check_id']}: {f['check_name']} ({f['resource']})")
             for f in results["failed_checks"]))

    def write(self, templates):
        files = []
        for name, template in templates.items():
            files.append(self.folder / f"{name}.json")
            files[-1].write_text(json.dumps(template, indent=1))
        return files

    @staticmethod
    def by_name(templates, findings):
        found = {name: [] for name in templates}
        for file, finding in findings:
            found[Path(file).stem].append(finding)
        return found


# --- The two runs ---------------------------------------------------------------------------------------------------


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def add(self, claim, faults):
        faults = list(faults)
        if faults:
            self.failed += 1
            print(f"FAILED  {claim}")
            for fault in faults:
                print(f"        {fault}")
        else:
            self.passed += 1
            print(f"ok      {claim}")

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def claim(check):
    return check.__name__.replace("_", " ")


def outside_constraints(source, parameters):
    for name, value in parameters.items():
        parameter = source["Parameters"][name]
        if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
            yield f"{name}: {value!r} is not among its AllowedValues"
        if "AllowedPattern" in parameter and not re.search(parameter["AllowedPattern"], value):
            yield f"{name}: {value!r} does not match its AllowedPattern"
        if parameter["Type"] == "Number" and not (
                parameter.get("MinValue", float(value)) <= float(value) <= parameter.get("MaxValue", float(value))):
            yield f"{name}: {value} is outside its MinValue and MaxValue"


def stacks_of(source):
    """Per variant: the expanded template, the plain stack, the conditions' truth and the parameters."""
    for name, overrides in VARIANTS.items():
        parameters = parameters_of(source, overrides)
        expanded = expand(source, parameters)
        stack, truth = resolve(expanded, source, parameters)
        yield name, expanded, stack, truth, parameters


def validate(source, linters):
    tally = Tally()
    tally.add("sam validate --lint accepts the template as written", linters.sam_validate(TEMPLATE))
    for check in SOURCE_CHECKS:
        tally.add(claim(check), check(source))

    stacks, truths, to_lint = {}, {}, {}
    for name, expanded, stack, truth, parameters in stacks_of(source):
        stacks[name], truths[name] = stack, truth
        to_lint |= {f"{name}-expanded": expanded, name: stack}
        tally.add(f"{name}: parameters are within their constraints", outside_constraints(source, parameters))
        tally.add(f"{name}: the rules accept the parameters", violated_rules(source, parameters))
        for check in STACK_CHECKS:
            tally.add(f"{name}: {claim(check)}", check(stack))

    tally.add("without a cluster nothing of Kafka is deployed", (
        f"{name}: make it conditional on KafkaGiven"
        for name, resource in stacks["defaults"]["Resources"].items() if "kafka" in json.dumps(resource)))
    tally.add("with a cluster each topic is mapped", (
        [] if len(mappings(stacks["everything"])) == len(PRODUCT_TOPICS) else ["want one mapping per product topic"]))
    tally.add("with every option each mapping carries every option", (
        f"{name}: {key} is missing"
        for name, mapping in mappings(stacks["everything"]).items() for key in sorted(MAPPING_OPTIONAL - mapping.keys())))
    tally.add("the variants turn every condition both ways", (
        f"condition {name} is {truth} in every variant: set its parameter in one of VARIANTS"
        for name, truth in truths["defaults"].items()
        if all(each[name] == truth for each in truths.values())))
    for what, overrides in REFUSED.items():
        refused = violated_rules(source, parameters_of(source, overrides))
        tally.add(f"the rules refuse {what}", [] if refused else [f"{overrides} is accepted: repair Rules"])

    for name, findings in linters.cfn_lint(to_lint).items():
        tally.add(f"{name}: cfn-lint has no findings", findings)
    for name, findings in linters.checkov_findings(stacks).items():
        seen = {finding.split(":")[0] for finding in findings}
        tally.add(f"{name}: checkov has no findings but accepted ones", (
            f"{finding}: repair it, or accept it with a reason in ACCEPTED"
            for finding in findings if finding.split(":")[0] not in ACCEPTED[name]))
        tally.add(f"{name}: every accepted finding of checkov is still one", (
            f"{check} no longer appears: take it out of ACCEPTED" for check in sorted(ACCEPTED[name].keys() - seen)))
    return tally.close()


# --- What must be found ---------------------------------------------------------------------------------------------


def set_in(*path, to, under="Resources"):
    def fault(stack):
        node = stack[under]
        for key in path[:-1]:
            node = node[key]
        if to is REMOVED:
            del node[path[-1]]
        else:
            node[path[-1]] = to
    return fault


def give(action, resource):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return lambda stack: (
        stack["Resources"]["AggregateRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].append(statement))


MAPPING = ("ProductUpdatedMapping", "Properties")
FUNCTION = ("AggregateFunction", "Properties")
STATE = {"Fn::GetAtt": ["StateTable", "Arn"]}

# A fault, what it does to a whole stack, the check that must find it, and the linter's rule that must as well.
FAULTS = [
    ("BatchSize 20000", set_in(*MAPPING, "BatchSize", to=20000),
     batches_and_retries_are_within_the_limits_of_lambda, "cfn-lint E3034"),
    ("a batching window of 301 seconds", set_in(*MAPPING, "MaximumBatchingWindowInSeconds", to=301),
     batches_and_retries_are_within_the_limits_of_lambda, "cfn-lint E3034"),
    ("a record age of 59 seconds", set_in(*MAPPING, "MaximumRecordAgeInSeconds", to=59),
     batches_and_retries_are_within_the_limits_of_lambda, None),
    ("Timeout 5400", set_in(*FUNCTION, "Timeout", to=5400), functions_end_within_900_seconds, None),
    ("a wildcard action", give("dynamodb:*", STATE), no_wildcard_action_is_allowed, None),
    ("a wildcard inside an action", give("dynamodb:Get*", STATE), no_wildcard_action_is_allowed, None),
    ("an unnamed resource", give("dynamodb:GetItem", "*"), every_resource_is_named_where_aws_lets_it_be, None),
    ("a right that is not needed", give("dynamodb:DeleteItem", STATE),
     the_role_may_what_the_commit_protocol_does_and_no_more, None),
    ("quarantine widened to the bucket", give("s3:PutObject", {"Fn::Sub": "${ArchiveBucket.Arn}/*"}),
     the_role_may_what_the_commit_protocol_does_and_no_more, None),
    ("a managed policy", set_in("AggregateRole", "Properties", "ManagedPolicyArns", to=[
        "arn:aws:iam::aws:policy/service-role/AWSLambdaMSKExecutionRole"]), roles_use_no_managed_policy, None),
    ("a table without point-in-time recovery",
     set_in("ViewsTable", "Properties", "PointInTimeRecoverySpecification", to=REMOVED),
     tables_are_recoverable_expiring_and_encrypted, "checkov CKV_AWS_28"),
    ("a table without TTL", set_in("StateTable", "Properties", "TimeToLiveSpecification", to=REMOVED),
     tables_are_recoverable_expiring_and_encrypted, None),
    ("a table without encryption", set_in("StateTable", "Properties", "SSESpecification", "SSEEnabled", to=False),
     tables_are_recoverable_expiring_and_encrypted, "checkov CKV_AWS_119"),
    ("a table that goes with its stack", set_in("StateTable", "DeletionPolicy", to="Delete"),
     stores_survive_their_stack, None),
    ("a bucket without versions", set_in("ArchiveBucket", "Properties", "VersioningConfiguration", to=REMOVED),
     the_bucket_keeps_versions_and_its_privacy, "checkov CKV_AWS_21"),
    ("a bucket that takes plain HTTP", set_in("ArchiveBucketPolicy", "Properties", "PolicyDocument", "Statement", to=[]),
     the_bucket_keeps_versions_and_its_privacy, None),
    ("a dangling Ref", set_in(*FUNCTION, "Environment", "Variables", "BUCKET", to={"Ref": "NoSuchBucket"}),
     every_reference_leads_somewhere, "cfn-lint E1020"),
    ("a dangling GetAtt", set_in(*FUNCTION, "Role", to={"Fn::GetAtt": ["NoSuchRole", "Arn"]}),
     every_reference_leads_somewhere, "cfn-lint E1010"),
    ("a dangling Sub", give("s3:PutObject", {"Fn::Sub": "${NoSuchBucket.Arn}/quarantine/*"}),
     every_reference_leads_somewhere, "cfn-lint E1019"),
    ("a dangling DependsOn", set_in("ProductUpdatedMapping", "DependsOn", to="NoSuchPolicy"),
     every_reference_leads_somewhere, "cfn-lint E3005"),
    ("a missing variable", set_in(*FUNCTION, "Environment", "Variables", "SOURCE_EPOCH", to=REMOVED),
     functions_find_their_whole_environment, None),
    ("a mapping without BatchSize", set_in(*MAPPING, "BatchSize", to=REMOVED),
     mappings_carry_every_batching_and_retry_parameter, None),
    ("a mapping without a retry limit", set_in(*MAPPING, "MaximumRetryAttempts", to=REMOVED),
     mappings_carry_every_batching_and_retry_parameter, None),
    ("retries limited without provisioned pollers", set_in(*MAPPING, "ProvisionedPollerConfig", to=REMOVED),
     mappings_carry_every_batching_and_retry_parameter, None),
    ("batches given up without a destination", set_in(*MAPPING, "DestinationConfig", to=REMOVED),
     nothing_is_dropped, None),
    ("partial batch responses", set_in(*MAPPING, "FunctionResponseTypes", to=["ReportBatchItemFailures"]),
     nothing_is_dropped, None),
    ("a shared consumer group",
     set_in(*MAPPING, "AmazonManagedKafkaEventSourceConfig", to={"ConsumerGroupId": "catalogue-created"}),
     each_topic_has_one_mapping_and_a_group_of_its_own, None),
    ("a topic read twice", set_in(*MAPPING, "Topics", to=["product.created"]),
     each_topic_has_one_mapping_and_a_group_of_its_own, None),
    ("plain text logs", set_in(*FUNCTION, "LoggingConfig", "LogFormat", to="Text"),
     functions_log_json_into_their_own_group, None),
]

# The same on the template as written.
SOURCE_FAULTS = [
    ("a parameter without a description", set_in("Timeout", "Description", to=REMOVED, under="Parameters"),
     every_parameter_says_what_it_is),
    ("a number without bounds", set_in("SourceEpoch", "MinValue", to=REMOVED, under="Parameters"),
     every_number_has_bounds),
    ("a timeout parameter that allows 5400", set_in("Timeout", "MaxValue", to=5400, under="Parameters"),
     no_deployer_can_pass_a_limit_of_lambda),
    ("a parameter outside the groups", set_in("Extra", to={"Type": "String", "Default": ""}, under="Parameters"),
     every_parameter_is_listed_in_one_group),
    ("a table key that the local stack cannot read",
     set_in("StateTable", "Properties", "TimeToLiveSpecification", "AttributeName", to={"Ref": "Ttl"}),
     the_local_stack_can_read_the_tables),
    ("a consumer group that the policy does not know",
     set_in(*MAPPING, "AmazonManagedKafkaEventSourceConfig", "ConsumerGroupId", to="another"),
     consumer_groups_are_named_alike_in_mapping_and_policy),
]


def self_test(source, linters):
    """Whether each fault is found, by the check and by the linter that are there for it."""
    tally = Tally()
    sound = {name: stack for name, _, stack, _, _ in stacks_of(source)}["everything"]
    broken = {}
    for what, fault, _, _ in FAULTS:
        broken[what.replace(" ", "-")] = stack = copy.deepcopy(sound)
        fault(stack)

    def to_lint(tool):
        return {"sound": sound} | {
            what.replace(" ", "-"): broken[what.replace(" ", "-")]
            for what, _, _, rule in FAULTS if rule and rule.startswith(tool)}

    findings = {"cfn-lint": linters.cfn_lint(to_lint("cfn-lint")), "checkov": linters.checkov_findings(to_lint("checkov"))}
    for what, _, check, rule in FAULTS:
        name = what.replace(" ", "-")
        faults = []
        if list(check(sound)):
            faults.append(f"'{claim(check)}' fails on the sound stack already: repair the template first")
        elif not list(check(broken[name])):
            faults.append(f"'{claim(check)}' did not find it")
        if rule:
            tool, number = rule.split()
            found = [finding for finding in findings[tool][name] if finding not in findings[tool]["sound"]]
            if not any(finding.startswith(number) for finding in found):
                faults.append(f"{rule} did not find it; {tool} said {found}")
        tally.add(f"finds {what}", faults)

    for what, fault, check in SOURCE_FAULTS:
        faulty = copy.deepcopy(source)
        fault(faulty)
        tally.add(f"finds {what}", [] if not list(check(source)) and list(check(faulty)) else [
            f"'{claim(check)}' says the same of the template with and without it"])

    tested = {check for _, _, check, _ in FAULTS} | {check for _, _, check in SOURCE_FAULTS}
    tally.add("every check has a fault that it must find", (
        f"{claim(check)}: add one to FAULTS or SOURCE_FAULTS"
        for check in SOURCE_CHECKS + STACK_CHECKS if check not in tested))

    faulty = TEMPLATE.read_text().replace("!GetAtt StateTable.Arn", "!GetAtt NoSuchTable.Arn")
    file = linters.folder / "template.yaml"
    file.write_text(faulty)
    tally.add("finds a dangling reference with sam validate --lint", (
        [] if linters.sam_validate(file) else ["sam accepted it"]))
    return tally.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--self-test", action="store_true", help="see that broken templates are found out")
    arguments.add_argument("--checkov", type=Path, default=TOP / ".venv-checkov/bin/checkov", help="path of checkov")
    chosen = arguments.parse_args()
    source = yaml_parse(TEMPLATE.read_text())
    with tempfile.TemporaryDirectory() as folder:
        linters = Linters(chosen.checkov, folder)
        try:
            return self_test(source, linters) if chosen.self_test else validate(source, linters)
        except Broken as reason:
            print(f"FAILED  {reason}\n0 passed, 1 failed")
            return 1


if __name__ == "__main__":
    sys.exit(main())
