"""What others' tools say of templates: sam, cfn-lint and checkov, each as findings by template."""

import json
import subprocess
import sys
from pathlib import Path

from resolve import Broken

# Findings of checkov that are meant to be so, per variant. One that no longer appears must leave its list.
ALWAYS_ACCEPTED = {
    "CKV_AWS_18": "access logs of the archive would need a second bucket; CloudTrail data events serve who wants them",
    "CKV_AWS_27": "SQS encrypts the queue with its own key, which checkov does not look for; it holds jobs, no data",
    "CKV_AWS_115": "partitions, schedules and throttles bound what runs; a reservation would take from other functions",
    "CKV_AWS_116": "mappings retry or use their destination, jobs that are given up have one; who asks the API waits",
    "CKV_AWS_158": "log lines hold names, offsets and reasons, no record; CloudWatch encrypts them with its own key",
    "CKV_AWS_173": "environments hold names and numbers; the API's, which holds a secret, is under KmsKeyArn if given",
}
ACCEPTED_UNTIL_CHOSEN = ALWAYS_ACCEPTED | {
    "CKV_AWS_117": "the function talks to DynamoDB and S3 alone; a network of its own is the deployer's choice",
    "CKV_AWS_119": "the default is the key that AWS manages; KmsKeyArn brings one's own",
}
ACCEPTED_OF_A_MADE_SECRET = ACCEPTED_UNTIL_CHOSEN | {
    "CKV_AWS_149": "likewise: the default is the key that AWS manages",
}
ACCEPTED = {
    "defaults": ACCEPTED_OF_A_MADE_SECRET,
    "cluster": ACCEPTED_OF_A_MADE_SECRET,
    "products alone": ACCEPTED_OF_A_MADE_SECRET,
    "audits alone": ACCEPTED_OF_A_MADE_SECRET,
    "no archive": ACCEPTED_OF_A_MADE_SECRET,
    "no reports": ACCEPTED_OF_A_MADE_SECRET,
    "all but products": ACCEPTED_OF_A_MADE_SECRET,
    "requests alone": ACCEPTED_UNTIL_CHOSEN,
    "requests to Kafka": ACCEPTED_OF_A_MADE_SECRET,
    "everything": ALWAYS_ACCEPTED,
}


class Linters:
    """The tools: sam and cfn-lint beside this interpreter, checkov wherever it is; `folder` is theirs to write in."""

    def __init__(self, checkov, folder):
        self.checkov, self.folder = checkov.absolute(), Path(folder)
        self.sam, self.cfnlint = (Path(sys.executable).with_name(name) for name in ("sam", "cfn-lint"))

    def sam_validate(self, template):
        """What `sam validate --lint` says of a template file as written, or nothing."""
        run = self.tool(self.sam, "validate", "--lint", "--template", template)
        return [] if run.returncode == 0 else [(run.stdout + run.stderr).strip()]

    def cfn_lint(self, templates):
        """Findings by the template's name, each with its rule's number first."""
        run = self.tool(self.cfnlint, "--format", "json", "--", *self.write(templates))
        try:
            findings = json.loads(run.stdout or "[]")
        except json.JSONDecodeError:
            raise Broken(f"cfn-lint failed:\n{run.stdout}{run.stderr}")
        if run.returncode and not findings:
            raise Broken(f"cfn-lint failed:\n{run.stderr}")
        return by_name(templates, (
            (f["Filename"], f"{f['Rule']['Id']}: {f['Message']} at {'/'.join(map(str, f['Location']['Path'] or []))}")
            for f in findings))

    def checkov_findings(self, templates):
        """Findings by the template's name, each with its check's number first."""
        files = [part for file in self.write(templates) for part in ("--file", file)]
        run = self.tool(
            self.checkov, "--framework", "cloudformation", "--skip-download", "--compact", "--quiet",
            "--output", "json", *files)
        try:
            results = json.loads(run.stdout)["results"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise Broken(f"checkov failed:\n{run.stdout}{run.stderr}")
        if results.get("parsing_errors"):
            raise Broken(f"checkov could not read {results['parsing_errors']}")
        return by_name(templates, (
            (f["file_path"], f"{f['check_id']}: {f['check_name']} ({f['resource']})")
            for f in results["failed_checks"]))

    def tool(self, *command):
        try:
            return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=self.folder)
        except OSError as reason:
            raise Broken(f"{command[0]} cannot be run ({reason.strerror}): run.sh installs it")

    def write(self, templates):
        """One file per template, named by its place, since names are for people."""
        files = [self.folder / f"{place}.json" for place in range(len(templates))]
        for file, template in zip(files, templates.values()):
            file.write_text(json.dumps(template, indent=1))
        return files


def by_name(templates, findings):
    names, found = list(templates), {name: [] for name in templates}
    for file, finding in findings:
        found[names[int(Path(file).stem)]].append(finding)
    return found


def number(finding):
    """The rule or check that a finding comes from."""
    return finding.split(":")[0]
