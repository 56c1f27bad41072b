"""How the checks read resources: by type, by what policies allow; and what several checks know of them."""

import json
import re

TABLES = ("StateTable", "ViewsTable")
STORES = (*TABLES, "ArchiveBucket")
QUEUE = "ArchiveDeadLetters"

# What the archive function writes, by folder; `runs/` holds what is not finished.
ARCHIVED = {"analytics/", "entities/", "manifests/", "parquet/", "recovery/"}

# Which stream each mapping's topic carries.
STREAMS = {
    "ProductCreatedMapping": "products",
    "ProductUpdatedMapping": "products",
    "ProductDeletedMapping": "products",
    "OrdersMapping": "orders",
    "OrderItemsMapping": "orders",
    "ActivityMapping": "activity",
    "UserEventsMapping": "user-events",
    "MetricsMapping": "metrics",
}

# What Lambda takes; from 0 to 59 it takes no MaximumRecordAgeInSeconds either.
LIMITS = {
    "BatchSize": (1, 10000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "MaximumRetryAttempts": (-1, 10000),
    "MaximumRecordAgeInSeconds": (-1, 604800),
    "MinimumPollers": (1, 200),
    "MaximumPollers": (1, 2000),
    "Timeout": (1, 900),
    "MemorySize": (128, 10240),
}


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def mappings(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::Lambda::EventSourceMapping").items()}


def functions(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::Lambda::Function").items()}


def apis(template):
    """The OpenAPI document of each HTTP API."""
    return {name: item["Properties"]["Body"] for name, item in of_type(template, "AWS::ApiGatewayV2::Api").items()}


def operations(api):
    """What an HTTP API says of each route, such as `GET /health`."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in api["paths"].items() for method, operation in methods.items()}


def stages(template):
    """The one stage of each HTTP API."""
    found = [item["Properties"] for item in of_type(template, "AWS::ApiGatewayV2::Stage").values()]
    return {stage["ApiId"]["Ref"]: stage for stage in found}


def lifecycle(template):
    return template["Resources"]["ArchiveBucket"]["Properties"].get("LifecycleConfiguration", {}).get("Rules", [])


def schedules(template):
    return {name: item["Properties"] for name, item in of_type(template, "AWS::Scheduler::Schedule").items()}


def variables(function):
    return function.get("Environment", {}).get("Variables", {})


def beyond_limits(properties):
    """The settings that Lambda would refuse."""
    for name, (low, high) in LIMITS.items():
        value = properties.get(name, low)
        if not isinstance(value, int) or not low <= value <= high:
            yield f"{name} is {value}; Lambda takes {low} to {high}"


def allowed(template):
    """Every statement that allows something. Denials may be as wide as they like."""
    for path, node in walk(template["Resources"]):
        if isinstance(node, dict) and node.get("Effect") == "Allow":
            yield path, node


def granted(template):
    """What is allowed: actions by resource, each as one string such as `ArchiveBucket.Arn/quarantine/*`."""
    grants = {}
    for _, statement in allowed(template):
        for resource in listed(statement.get("Resource", [])):
            grants.setdefault(readable(resource), set()).update(listed(statement.get("Action", [])))
    return grants


def with_policies(stack, role):
    """A role, and what adds to it."""
    policies = of_type(stack, "AWS::IAM::Policy").items()
    added = {name: item for name, item in policies if {"Ref": role} in item["Properties"].get("Roles", [])}
    return {"Resources": {role: stack["Resources"][role]} | added}


def statements(properties):
    """All that a role or a policy says."""
    for policy in properties.get("Policies", [properties]):
        yield from policy["PolicyDocument"]["Statement"]


def readable(resource):
    match resource:
        case {"Fn::GetAtt": [*parts]}:
            return ".".join(parts)
        case {"Fn::Sub": text}:
            return text.replace("${", "").replace("}", "")
    return resource if isinstance(resource, str) else json.dumps(resource)


def named_in(text):
    """The resources and parameters that a text for Fn::Sub names."""
    return [part.split(".")[0] for part in re.findall(r"\$\{([^!}][^}]*)\}", text)]


def listed(value):
    return value if isinstance(value, list) else [value]


def walk(node, path=""):
    """A node and all below it, each with its path."""
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from walk(child, f"{path}/{key}")
