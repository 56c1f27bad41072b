"""What roles and policies may allow. Every function is a check of a stack: it yields what is wrong and what to do."""

from resources import (
    ARCHIVED, QUEUE, STORES, allowed, functions, granted, listed, mappings, of_type, schedules, with_policies)

# What each function does to each store and to the queue of jobs that were given up, and so all that its role may.
COMMIT = {
    "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
    "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"}
FILES = {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"}
STORE_ACTIONS = {
    "AggregateRole": {
        "StateTable.Arn": COMMIT,
        "ViewsTable.Arn": {"dynamodb:UpdateItem"},
        "ArchiveBucket.Arn/quarantine/*": {"s3:PutObject"},
    },
    "ArchiveRole": {
        "StateTable.Arn": COMMIT | {"dynamodb:BatchWriteItem", "dynamodb:Query", "dynamodb:Scan"},
        "StateTable.Arn/index/board": {"dynamodb:Query"},
        "ViewsTable.Arn": {
            "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem"},
        "ViewsTable.Arn/index/ranking": {"dynamodb:Query"},
        "ArchiveBucket.Arn": {"s3:ListBucket"},
        f"{QUEUE}.Arn": {"sqs:SendMessage"},
    } | {f"ArchiveBucket.Arn/{folder}*": FILES for folder in ARCHIVED | {"runs/"}},
    "ApiRole": {
        "StateTable.Arn": COMMIT | {"dynamodb:Query"},
        "StateTable.Arn/index/board": {"dynamodb:Query"},
        "ViewsTable.Arn": {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"},
        "ViewsTable.Arn/index/directory": {"dynamodb:Query"},
        "ViewsTable.Arn/index/ranking": {"dynamodb:Query"},
    },
    "ScheduleRole": {f"{QUEUE}.Arn": {"sqs:SendMessage"}},
}

# A write of many items may delete, too: it reaches history alone.
HISTORY = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["CATEGORY#*", "SELLER#*"]}}

# Actions for which AWS defines no resource, so that '*' is the narrowest there is.
WITHOUT_RESOURCE = {
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
    "kafka:GetBootstrapBrokers",
    "xray:PutTelemetryRecords", "xray:PutTraceSegments",
}

# All that a schedule's role says: who may take it on, and what it may then do.
SCHEDULER = "scheduler.amazonaws.com"
SCHEDULE_TRUST = [{
    "Effect": "Allow",
    "Principal": {"Service": SCHEDULER},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
}]
SCHEDULE_RIGHTS = [{
    "Effect": "Allow",
    "Action": "lambda:InvokeFunction",
    "Resource": {"Fn::GetAtt": ["ArchiveFunction", "Arn"]},
}, {
    "Effect": "Allow",
    "Action": "sqs:SendMessage",
    "Resource": {"Fn::GetAtt": [QUEUE, "Arn"]},
}]


def no_wildcard_action_is_allowed(stack):
    for path, statement in allowed(stack):
        for action in listed(statement.get("Action", [])):
            if "*" in action or "?" in action:
                yield f"{path}: {action} allows more than it says; list the actions one by one"
        if statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}:
            yield f"{path}: allows everything but a few; list what is needed instead"


def every_resource_is_named_where_aws_lets_it_be(stack):
    for action in sorted(granted(stack).get("*", set()) - WITHOUT_RESOURCE):
        yield f"{action} is allowed on Resource '*'; name the resource"


def a_role_may_what_its_function_does_and_no_more(stack):
    for role in of_type(stack, "AWS::IAM::Role"):
        wanted = STORE_ACTIONS.get(role, {})
        grants = {
            name: actions for name, actions in granted(with_policies(stack, role)).items()
            if name.split(".")[0] in (*STORES, QUEUE)}
        for resource in sorted(grants.keys() | wanted.keys()):
            want, have = wanted.get(resource, set()), grants.get(resource, set())
            if want - have:
                yield f"{role}: on {resource} it needs {sorted(want - have)}; allow it"
            if have - want:
                yield f"{role}: on {resource} nobody calls {sorted(have - want)}; take it away, or add to STORE_ACTIONS"


def writes_of_many_items_reach_history_alone(stack):
    for path, statement in allowed(stack):
        batches = "dynamodb:BatchWriteItem" in listed(statement.get("Action", []))
        if batches and (statement["Action"] != "dynamodb:BatchWriteItem" or statement.get("Condition") != HISTORY):
            yield f"{path}: allow dynamodb:BatchWriteItem by a statement of its own, on condition of {HISTORY}"


def a_function_has_a_role_of_its_own(stack):
    for name, function in functions(stack).items():
        role = name.replace("Function", "Role")
        if function["Role"] != {"Fn::GetAtt": [role, "Arn"]}:
            yield f"{name}: its role is {function['Role']}; want {role}, which has its rights"


def topics_that_are_mapped_may_be_read_and_no_others(stack):
    readable = {name for name, actions in granted(stack).items() if "kafka-cluster:ReadData" in actions}
    mapped = {
        f"{mapping['EventSourceArn'].replace(':cluster/', ':topic/')}/{topic}"
        for mapping in mappings(stack).values()
        for topic in mapping["Topics"]
    }
    for arn in sorted(mapped - readable):
        yield f"AggregateKafkaPolicy does not allow kafka-cluster:ReadData on {arn}, which is mapped"
    for arn in sorted(readable - mapped):
        yield f"kafka-cluster:ReadData is allowed on {arn}, which nothing maps; give both the same condition"


def as_many_consumer_groups_may_be_used_as_there_are_mappings(stack):
    groups = sorted(name for name, actions in granted(stack).items() if "kafka-cluster:AlterGroup" in actions)
    if len(groups) != len(mappings(stack)):
        yield f"kafka-cluster:AlterGroup is allowed on {groups}: want the group of each mapping, and no other"


def the_role_of_a_schedule_may_invoke_the_function_and_nothing_else(stack):
    used = {schedule["Target"]["RoleArn"]["Fn::GetAtt"][0] for schedule in schedules(stack).values()}
    for name, role in of_type(stack, "AWS::IAM::Role").items():
        trust = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if name not in used:
            if SCHEDULER in str(trust):
                yield f"{name}: no schedule uses it; give both the same condition"
            continue
        if trust != SCHEDULE_TRUST:
            yield f"{name}: {trust} may take it on; want {SCHEDULE_TRUST}"
        rights = [
            statement
            for policy in role["Properties"].get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        if rights != SCHEDULE_RIGHTS:
            yield f"{name}: it says {rights}; want {SCHEDULE_RIGHTS}"
        for policy, item in of_type(stack, "AWS::IAM::Policy").items():
            if {"Ref": name} in item["Properties"].get("Roles", []):
                yield f"{policy}: adds to {name}, which needs nothing more; take it away"


def roles_use_no_managed_policy(stack):
    for name, role in of_type(stack, "AWS::IAM::Role").items():
        if role["Properties"].get("ManagedPolicyArns"):
            yield f"{name}: a managed policy changes and widens by itself; write its statements out"
