"""Holds template.yaml to what deploying it will demand, without an account and without the network.

Linters that read the template as it is written miss what hides behind parameters, conditions and the SAM transform.
So the template is expanded and resolved first, as several stacks from every default to every option; then cfn-lint,
checkov and our own checks read plain resources. What only AWS can tell (whether a cluster, key or subnet exists,
whether a quota holds) is not for here.

    validate.py               validate the template
    validate.py --self-test   break the template on purpose and see that each fault is found
"""

import argparse
import json
import os
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
sys.dont_write_bytecode = True  # the checkout stays clean

from faults import self_test
from linters import ACCEPTED, Linters, number
from resolve import (
    TEMPLATE, Broken, expand, outside_constraints, parameters_of, read, resolve, truth_of, violated_rules)
from resources import lifecycle, mappings, schedules
from tally import SOURCE_CHECKS, STACK_CHECKS, Tally, claim
from variants import REFUSED, VARIANTS

SOURCE_TOPICS = [
    "analytics.events", "analytics.metrics", "dbserver1.public.order_items", "dbserver1.public.orders",
    "product.created", "product.deleted", "product.updated", "user-events",
]
SCHEDULES = ("ArchiveSchedule", "ReportSchedule", "UpkeepSchedule", "AuditSchedule")
MAPPING_OPTIONS = ("DestinationConfig", "ProvisionedPollerConfig", "SourceAccessConfigurations")


def validate(source, linters, tally):
    tally.add("sam validate --lint accepts the template as written", linters.sam_validate(TEMPLATE))
    for check in SOURCE_CHECKS:
        tally.add(claim(check), check(source))

    expanded, stacks = expand(source), {}
    parameters = {name: parameters_of(source, overrides) for name, overrides in VARIANTS.items()}
    for name, values in parameters.items():
        stacks[name] = resolve(expanded, values)
        tally.add(f"{name}: parameters are within their constraints", outside_constraints(source, values))
        tally.add(f"{name}: the rules accept the parameters", violated_rules(source, values))
        for check in STACK_CHECKS:
            tally.add(f"{name}: {claim(check)}", check(stacks[name]))

    compare(source, stacks, parameters, tally)
    for what, overrides in REFUSED.items():
        refused = violated_rules(source, parameters_of(source, overrides))
        tally.add(f"the rules refuse {what}", [] if refused else [f"{overrides} is accepted: repair Rules"])
    lint(expanded, stacks, linters, tally)


def compare(source, stacks, parameters, tally):
    """What must differ between the variants, and what not."""
    tally.add("without a cluster nothing of Kafka is deployed", (
        f"{name}: make it conditional on KafkaGiven"
        for name, resource in stacks["defaults"]["Resources"].items() if "kafka" in json.dumps(resource)))
    for variant, values in parameters.items():
        if values["MskClusterArn"]:
            topics = mapped_topics(stacks[variant])
            given = sorted(value for name, value in values.items() if name.endswith("Topic") and value)
            tally.add(f"{variant}: each topic that is given is mapped", (
                [] if topics == given else [f"{topics} are mapped: want {given}"]))
        wanted = sorted(values[name] for name in SCHEDULES if values[name])
        found = sorted(schedule["ScheduleExpression"] for schedule in schedules(stacks[variant]).values())
        tally.add(f"{variant}: jobs have the schedules that are given, or none", (
            [] if found == wanted else [f"{found} are scheduled: want {wanted}"]))
        days = int(values["ArchiveRetentionDays"])
        found = {rule.get("ExpirationInDays") for rule in lifecycle(stacks[variant]) if "parquet/" in rule.values()}
        tally.add(f"{variant}: archived files are kept as long as was said", (
            [] if found == ({days} if days else set()) else [f"they expire after {found} days: want {days}"]))
    topics = mapped_topics(stacks["cluster"])
    tally.add("by default the topics are those of the source systems", (
        [] if topics == SOURCE_TOPICS else [f"{topics} are mapped: want {SOURCE_TOPICS}"]))
    tally.add("with every option each mapping carries every option", (
        f"{name}: {key} is missing"
        for name, mapping in mappings(stacks["everything"]).items() for key in MAPPING_OPTIONS if key not in mapping))
    truths = [truth_of(source, values) for values in parameters.values()]
    tally.add("the variants turn every condition both ways", (
        f"condition {name} is the same in every variant: set its parameter in one of VARIANTS"
        for name in truths[0] if len({truth[name] for truth in truths}) == 1))


def mapped_topics(stack):
    return sorted(topic for mapping in mappings(stack).values() for topic in mapping["Topics"])


def lint(expanded, stacks, linters, tally):
    for name, findings in linters.cfn_lint({"expanded": expanded} | stacks).items():
        tally.add(f"{name}: cfn-lint has no findings", findings)
    for name, findings in linters.checkov_findings(stacks).items():
        tally.add(f"{name}: checkov has no findings but accepted ones", (
            f"{finding}: repair it, or accept it with a reason in ACCEPTED"
            for finding in findings if number(finding) not in ACCEPTED[name]))
        tally.add(f"{name}: every accepted finding of checkov is still one", (
            f"{check} no longer appears: take it out of ACCEPTED"
            for check in sorted(ACCEPTED[name].keys() - set(map(number, findings)))))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--self-test", action="store_true", help="see that broken templates are found out")
    arguments.add_argument(
        "--checkov", type=Path, default=TEMPLATE.with_name(".venv-checkov") / "bin/checkov", help="path of checkov")
    chosen = arguments.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        run = self_test if chosen.self_test else validate
        try:
            run(read(), Linters(chosen.checkov, folder), tally)
        except Broken as reason:
            tally.add("every check can be carried out", [str(reason)])
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
