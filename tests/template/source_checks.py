"""What must hold of the template as written. Every function is a check: it yields what is wrong and what to do."""

import json
import re

from resources import LIMITS, TABLES, of_type, variables, walk

# The variable whose parameter has the name that the topic has elsewhere.
NAMED = {"EVENTS_TOPIC": "ActivityTopic"}


def every_parameter_says_what_it_is(source):
    for name, parameter in source["Parameters"].items():
        if not parameter.get("Description"):
            yield f"parameter {name} has no Description: say what it does and what its default means"


def every_number_has_bounds(source):
    for name, parameter in source["Parameters"].items():
        if parameter["Type"] == "Number" and not parameter.keys() & {"MinValue", "AllowedValues"}:
            yield f"parameter {name} takes any number: give it a MinValue, or AllowedValues"


def no_deployer_can_pass_a_limit_of_lambda(source):
    # An archive takes more memory than Lambda's least: a row group of each view, and a page of each segment.
    others = {
        "ArchiveMemorySize": (512, LIMITS["MemorySize"][1]), "ArchiveTimeout": LIMITS["Timeout"],
        "ApiMemorySize": LIMITS["MemorySize"]}
    for name, (low, high) in (LIMITS | others).items():
        parameter = source["Parameters"].get(name, {})
        if (parameter.get("MinValue"), parameter.get("MaxValue")) != (low, high):
            yield f"parameter {name}: set MinValue {low} and MaxValue {high}, within the limits of Lambda"


def every_parameter_is_listed_in_one_group(source):
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    for name in sorted(source["Parameters"].keys() | set(grouped)):
        if name not in source["Parameters"] or grouped.count(name) != 1:
            yield f"parameter {name}: list it once under AWS::CloudFormation::Interface, or drop it there"


def variables_are_set_from_the_parameters_of_their_names(source):
    of_all = {"Globals": {"Properties": source["Globals"]["Function"]}}
    for name, function in (of_all | of_type(source, "AWS::Serverless::Function")).items():
        for variable, value in variables(function["Properties"]).items():
            parameter = value.get("Ref") if isinstance(value, dict) else None
            wanted = NAMED.get(variable, variable.title().replace("_", ""))
            if parameter in source["Parameters"] and parameter != wanted:
                yield f"{name}: {variable} is set from {parameter}; want {wanted}, by its name"


def no_origin_can_be_a_wildcard(source):
    pattern = source["Parameters"]["AllowedOrigins"].get("AllowedPattern", "")
    for origin in ("*", "https://*", "https://*.example.com", "http://example.com", "null"):
        if re.search(pattern, origin):
            yield f"parameter AllowedOrigins takes {origin}: let its AllowedPattern take whole origins by HTTPS alone"


def a_secret_is_never_shown(source):
    if source["Parameters"]["ApiSecret"].get("NoEcho") is not True:
        yield "parameter ApiSecret: set NoEcho, or everybody who may see the stack sees it"
    if re.search(source["Parameters"]["ApiSecret"].get("AllowedPattern", ""), "x" * 31):
        yield "parameter ApiSecret takes 31 characters: let its AllowedPattern take 32 at least"


def the_local_stack_can_read_the_tables(source):
    for name in TABLES:
        properties = source["Resources"][name]["Properties"]
        for key in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "TimeToLiveSpecification"):
            for path, node in walk(properties.get(key), f"{name}.{key}"):
                if isinstance(node, dict) and any(k == "Ref" or k.startswith("Fn::") for k in node):
                    yield f"{path}: write a plain value, the local stack creates its tables from it"


def consumer_groups_are_named_alike_in_mapping_and_policy(source):
    policy = json.dumps(source["Resources"]["AggregateKafkaPolicy"]["Properties"]["PolicyDocument"])
    for name, mapping in of_type(source, "AWS::Lambda::EventSourceMapping").items():
        group = mapping["Properties"]["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]
        if json.dumps(group) not in policy:
            yield f"{name}: its ConsumerGroupId is not in AggregateKafkaPolicy, word for word; copy it there"
