#!/usr/bin/env bash
# Deploys a version of Layer5 blue-green, and says at every step what it does.
#
#   deploy-production.sh vX.Y.Z [--env NAME] [--dry-run] [--auto-rollback] [--watch SECONDS] [--context NAME]
#
#   --env NAME        production (default), staging or development; refused when the cluster says it is another one
#   --dry-run         looks, prints the plan, changes nothing
#   --auto-rollback   goes back by itself when the new version is worse after the switch
#   --watch SECONDS   how long the new version is watched after the switch (300)
#   --context NAME    kubectl context (the current one)
#
# The live version serves until a candidate of the other colour has followed its log and found the same. Then the live
# Deployment gets the new image and colour, is watched against the figures of before, and stays or goes back.
# What has been reached is kept in the Lease layer5-deploy, so an interrupted deployment goes on when it is run again,
# and two at once are refused.
#
# Exit codes: 0 deployed   1 refused, the live version was not touched   2 wrong arguments   3 switched and rolled back
#             4 switched, worse, and not rolled back   5 another deployment is under way   69 the cluster can't be asked
# Needs bash, kubectl and GNU date. Read docs/operating/deployment.md first.
set -euo pipefail

readonly namespace=project-chimera
readonly live=layer5-refinement candidate=layer5-refinement-candidate lease=layer5-deploy
readonly pods=app=layer5,component=refinement
# How long a pod may take to be ready, a backup to be made; how long a lease holds without being renewed. Seconds.
readonly patience=${LAYER5_DEPLOY_PATIENCE:-300} lease_seconds=${LAYER5_LEASE_SECONDS:-60}
readonly token=/etc/layer5/secrets/operator-token

version='' environment=production dry_run=false auto_rollback=false watch_seconds=300 context=()
me="${USER:-someone}@$(uname -n):$$:${RANDOM}"
holding=false renewer=''

say() { printf '%s  %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
step() { printf '\n==> %s\n' "$*" >&2; }
end() {
  local code=$1
  shift
  printf '\ndeploy-production.sh: %s\n' "$*" >&2
  exit "$code"
}
usage() { sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
k() { kubectl ${context[@]+"${context[@]}"} --namespace "$namespace" --request-timeout=30s "$@"; }
# Commands that run as long as what they do.
k_long() { kubectl ${context[@]+"${context[@]}"} --namespace "$namespace" "$@"; }

read_arguments() {
  while (($# > 0)); do
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --env | --watch | --context)
        (($# > 1)) || end 2 "$1 needs a value"
        case $1 in
          --env) environment=$2 ;;
          --watch) watch_seconds=$2 ;;
          --context) context=(--context "$2") ;;
        esac
        shift
        ;;
      --dry-run) dry_run=true ;;
      --auto-rollback) auto_rollback=true ;;
      -*) end 2 "unknown option $1; see --help" ;;
      *)
        [[ -z $version ]] || end 2 "one version at a time: $version or $1"
        version=$1
        ;;
    esac
    shift
  done
  [[ -n $version ]] || end 2 "which version? deploy-production.sh vX.Y.Z"
  [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] ||
    end 2 "'$version' is no version: expected vX.Y.Z, such as v2.1.0"
  [[ $environment =~ ^(production|staging|development)$ ]] ||
    end 2 "--env $environment: expected production, staging or development"
  [[ $watch_seconds =~ ^[0-9]+$ ]] || end 2 "--watch $watch_seconds: expected a number of seconds"
}

# --- the lease: who deploys, and how far it got ---------------------------------------------------------------------

now_micro() { date -u +%Y-%m-%dT%H:%M:%S.000000Z; }
note() { k get lease "$lease" --ignore-not-found -o "jsonpath={.metadata.annotations.layer5\\.deploy/$1}"; }

take_lease() {
  local seen holder renewed seconds number until
  seen=$(k get lease "$lease" --ignore-not-found \
    -o 'jsonpath={.metadata.resourceVersion}|{.spec.holderIdentity}|{.spec.renewTime}|{.spec.leaseDurationSeconds}')
  if [[ -z $seen ]]; then
    k create --validate=ignore -f - >/dev/null <<JSON || end 5 "another deployment has just begun"
{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
 "metadata": {"name": "$lease", "namespace": "$namespace", "annotations": {"layer5.deploy/phase": "none"}},
 "spec": {"holderIdentity": "$me", "leaseDurationSeconds": $lease_seconds, "renewTime": "$(now_micro)"}}
JSON
  else
    IFS='|' read -r number holder renewed seconds <<<"$seen"
    if [[ -n $holder ]]; then
      until=$(($(date -u -d "$renewed" +%s) + seconds))
      (($(date -u +%s) >= until)) ||
        end 5 "$holder is deploying (until $(date -u -d "@$until" +%H:%M:%S) UTC unless it goes on); wait for it"
      say "the deployment of $holder was interrupted"
    fi
    k patch lease "$lease" --type=json -p "[
      {\"op\": \"test\", \"path\": \"/metadata/resourceVersion\", \"value\": \"$number\"},
      {\"op\": \"add\", \"path\": \"/spec/holderIdentity\", \"value\": \"$me\"},
      {\"op\": \"add\", \"path\": \"/spec/leaseDurationSeconds\", \"value\": $lease_seconds},
      {\"op\": \"add\", \"path\": \"/spec/renewTime\", \"value\": \"$(now_micro)\"}]" >/dev/null ||
      end 5 "another deployment has just begun"
  fi
  holding=true
  renew_lease &
  renewer=$!
}

# Beside the rest; ends with it, also when the rest is killed.
renew_lease() {
  trap - EXIT
  while kill -0 $$ 2>/dev/null; do
    sleep $((lease_seconds / 3 + 1))
    kill -0 $$ 2>/dev/null || return 0
    k patch lease "$lease" --type=json -p "[
      {\"op\": \"test\", \"path\": \"/spec/holderIdentity\", \"value\": \"$me\"},
      {\"op\": \"replace\", \"path\": \"/spec/renewTime\", \"value\": \"$(now_micro)\"}]" >/dev/null 2>&1 || true
  done
}

# Writes notes, `key value` each, while the lease is ours; else somebody else deploys, and this must end.
keep() {
  local notes=''
  while (($# > 0)); do
    notes+=", {\"op\": \"add\", \"path\": \"/metadata/annotations/layer5.deploy~1$1\", \"value\": \"${2//\"/\\\"}\"}"
    shift 2
  done
  k patch lease "$lease" --type=json -p "[
    {\"op\": \"test\", \"path\": \"/spec/holderIdentity\", \"value\": \"$me\"},
    {\"op\": \"replace\", \"path\": \"/spec/renewTime\", \"value\": \"$(now_micro)\"}$notes]" >/dev/null ||
    end 5 "the lease is no longer ours, or the cluster does not answer: run this again"
}

leave() {
  [[ -z $renewer ]] || kill "$renewer" 2>/dev/null || true
  $holding || return 0
  k patch lease "$lease" --type=json -p "[
    {\"op\": \"test\", \"path\": \"/spec/holderIdentity\", \"value\": \"$me\"},
    {\"op\": \"replace\", \"path\": \"/spec/holderIdentity\", \"value\": \"\"}]" >/dev/null 2>&1 || true
}
trap leave EXIT
trap 'end 130 "interrupted; run the same command again to go on"' INT TERM HUP

# --- looking --------------------------------------------------------------------------------------------------------

image_of() { k get deployment "$1" -o 'jsonpath={.spec.template.spec.containers[?(@.name=="layer5")].image}'; }
color_of() { k get deployment "$1" -o 'jsonpath={.spec.template.metadata.labels.deployment}'; }
other() { [[ $1 == blue ]] && echo green || echo blue; }

# The running pod of a role and colour; one that is going away is none.
pod_of() {
  local name leaving found=''
  while read -r name leaving; do
    [[ -z $name || -n $leaving ]] || found=$name
  done < <(k get pods -l "$pods,role=$1,deployment=$2" --field-selector=status.phase=Running \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{"\n"}{end}')
  echo "$found"
}

# Runs `layer5` in the pod of a role and colour.
layer5() {
  local pod
  pod=$(pod_of "$1" "$2")
  [[ -n $pod ]] || {
    say "no pod of $1 $2 runs"
    return 1
  }
  shift 2
  k_long exec "$pod" -c layer5 -- /layer5 "$@"
}

# Why pods are not ready, as the cluster says it.
trouble() {
  k get pods -l "$pods,role=$1,deployment=$2" -o 'jsonpath={range .items[*]}{.metadata.name}: {range .status.conditions[?(@.status=="False")]}{.type} {.reason} {.message}; {end}{range .status.initContainerStatuses[*]}{.state.waiting.reason} {.state.waiting.message}{end}{range .status.containerStatuses[*]}{.state.waiting.reason} {.state.waiting.message} {.lastState.terminated.reason}{end}{"\n"}{end}' 2>/dev/null || true
}

# Waits until a Deployment is rolled out; gives up early where waiting can't help.
rolled_out() {
  local name=$1 role=$2 color=$3 until=$((SECONDS + patience)) seen
  while ! k_long rollout status "deployment/$name" --timeout=5s >/dev/null 2>&1; do
    seen=$(trouble "$role" "$color")
    if [[ $seen =~ (CrashLoopBackOff|ErrImagePull|ImagePullBackOff|InvalidImageName|CreateContainerConfigError|CreateContainerError) ]]; then
      say "$seen"
      return 1
    fi
    if ((SECONDS >= until)); then
      say "not ready after $patience s: ${seen:-no pod is there}"
      return 1
    fi
  done
}

precheck() {
  step "1 checks"
  command -v kubectl >/dev/null || end 69 "kubectl is not installed"
  ((${#context[@]} > 0)) || kubectl config current-context >/dev/null 2>&1 ||
    end 69 "kubectl has no context: \`kubectl config use-context NAME\`, or --context NAME"
  local found may
  found=$(k get deployment "$live" -o 'jsonpath={.metadata.labels.environment}' 2>&1) ||
    end 69 "deployment/$live in $namespace can't be read: $found"
  [[ $found == "$environment" ]] ||
    end 1 "this cluster is '${found:-without a label}', not $environment: check --env and --context"
  for may in "patch deployments/$live" "patch deployments/$candidate" "create pods/exec" "create jobs.batch"; do
    # shellcheck disable=SC2086 # verb and resource are two words
    k auth can-i $may >/dev/null 2>&1 || end 1 "you may not $may in $namespace: ask for the role layer5-deployer"
  done
  k get deployment "$candidate" >/dev/null || end 1 "deployment/$candidate is missing: kubectl apply -k deploy/kubernetes/overlays/$environment/..."
}

# What is deployed from and to, from the notes of an interrupted run or from the cluster.
orient() {
  phase=$(note phase)
  local noted
  noted=$(note version)
  case $phase in
    '' | none | done | refused | rolled-back) phase=none ;;
    switching | watching | rolling-back)
      [[ $noted == "$version" ]] ||
        end 1 "the deployment of $noted was interrupted while $phase: run it again to its end first"
      ;;
    # Nothing was switched yet: starting over harms nobody.
    *) [[ $noted == "$version" ]] || phase=none ;;
  esac
  if [[ $phase == none ]]; then
    from_image=$(image_of "$live") from_color=$(color_of "$live") started=$(date -u +%s)
  else
    say "going on with the deployment of $version, which was interrupted while $phase"
    from_image=$(note from-image) from_color=$(note from-color) started=$(note started)
  fi
  [[ $from_color =~ ^(blue|green)$ ]] || end 1 "deployment/$live has no colour: its pods need the label deployment=blue|green"
  to_color=$(other "$from_color")
  to_image=$from_image
  [[ ${from_image##*/} != *:* ]] || to_image=${from_image%:*}
  to_image=$to_image:$version
  [[ $phase != none || $from_image != "$to_image" ]] || {
    say "$from_color serves $version already"
    clean_up
    exit 0
  }
  say "live: $from_color $from_image"
  say "next: $to_color $to_image"
}

# --- the steps ------------------------------------------------------------------------------------------------------

backup() {
  local job=layer5-deploy-$started until=$((SECONDS + patience))
  step "2 backup ($job)"
  # As the CronJob makes its own.
  k get job "$job" >/dev/null 2>&1 || k create --validate=ignore -f - >/dev/null <<JSON
{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "$job", "labels": {"app": "layer5"}},
 "spec": $(k get cronjob layer5-backup -o 'jsonpath={.spec.jobTemplate.spec}')}
JSON
  until k_long wait --for=condition=complete --timeout=5s "job/$job" >/dev/null 2>&1; do
    if [[ $(k get job "$job" -o 'jsonpath={.status.conditions[?(@.type=="Failed")].status}') == True ]] || ((SECONDS >= until)); then
      refuse "the backup failed: $(k logs "job/$job" --tail=5 2>&1 | tr '\n' ' '); see kubectl logs job/$job"
    fi
  done
  say "backed up"
}

deploy_candidate() {
  step "3 candidate: $to_color, in the shadow of $from_color"
  k patch deployment "$candidate" -p "{\"spec\": {\"replicas\": 1, \"template\": {
    \"metadata\": {\"labels\": {\"deployment\": \"$to_color\"}, \"annotations\": {\"layer5.deploy/started\": \"$started\"}},
    \"spec\": {\"containers\": [{\"name\": \"layer5\", \"image\": \"$to_image\"}]}}}}" >/dev/null
  rolled_out "$candidate" shadow "$to_color" || refuse "the candidate does not become ready"
  say "it is ready"
}

validate() {
  step "4 validation"
  layer5 shadow "$to_color" probe live >&2 || refuse "the candidate does not live"
  layer5 shadow "$to_color" probe ready >&2 || refuse "the candidate is not ready"
  layer5 shadow "$to_color" bluegreen figures --token-file "$token" --seconds 1 >&2 ||
    refuse "the candidate shows no figures"
  layer5 shadow "$to_color" bluegreen smoke --token-file "$token" >&2 ||
    refuse "a report that goes into the candidate does not come out"
  layer5 shadow "$to_color" bluegreen compare --live "http://layer5-refinement-active:8080" --token-file "$token" \
    --window 300 --patience 120 >&2 || refuse "the candidate does not find what the live version finds"
  baseline=$(layer5 active "$from_color" bluegreen figures --token-file "$token" --seconds 10) ||
    refuse "the live version shows no figures to compare with"
  say "before: $baseline"
  keep phase validated baseline "$baseline"
}

switch_traffic() {
  step "5 switch: $to_color takes over"
  keep phase switching
  set_live "$to_image" "$to_color" "$version, deployed by ${me%%:*}"
  rolled_out "$live" active "$to_color" || worse "$to_color does not become ready after the switch"
  say "$to_color serves"
  keep phase watching
}

set_live() {
  k patch deployment "$live" -p "{\"metadata\": {\"annotations\": {\"kubernetes.io/change-cause\": \"$3\"}},
    \"spec\": {\"template\": {\"metadata\": {\"labels\": {\"deployment\": \"$2\"}},
    \"spec\": {\"containers\": [{\"name\": \"layer5\", \"image\": \"$1\"}]}}}}" >/dev/null
}

watch_it() {
  step "6 watch: $watch_seconds s against the figures of before"
  baseline=$(note baseline)
  local seen
  seen=$(layer5 active "$to_color" bluegreen watch --token-file "$token" --seconds "$watch_seconds" \
    --baseline "$baseline" 2>&1) || worse "$seen"
  say "after: $seen"
}

clean_up() {
  k patch deployment "$candidate" -p '{"spec": {"replicas": 0}}' >/dev/null
}

finish() {
  step "7 scale down: no candidate is left, and no $from_color"
  clean_up
  keep phase "done"
  end 0 "$version is deployed: $to_color serves. Back, if need be: kubectl rollout undo deployment/$live -n $namespace"
}

# Before the switch: the live version was not touched.
refuse() {
  clean_up || true
  keep phase refused
  end 1 "$version is refused: $*. $from_color $from_image serves as before."
}

# After the switch.
worse() {
  say "$to_color is worse: $*"
  $auto_rollback || end 4 "$version is worse than before and serves: $*. Back: the same command with --auto-rollback, or kubectl rollout undo deployment/$live -n $namespace"
  roll_back
}

roll_back() {
  step "back to $from_color $from_image"
  keep phase rolling-back
  set_live "$from_image" "$from_color" "back from $version"
  rolled_out "$live" active "$from_color" ||
    end 4 "$from_color does not become ready either: kubectl describe pods -l $pods -n $namespace, then docs/ops-runbook.md"
  clean_up || true
  keep phase rolled-back
  end 3 "$version was rolled back: $from_color $from_image serves."
}

plan() {
  cat <<PLAN
plan for $version in $environment (nothing was changed)
  live       $from_color $from_image
  2 backup      job layer5-deploy-$started from cronjob/layer5-backup
  3 candidate   deployment/$candidate <- $to_color $to_image, 1 replica
  4 validation  live, ready, figures, a report in and out, findings compared with $from_color
  5 switch      deployment/$live <- $to_color $to_image
  6 watch       $watch_seconds s: errors and accuracy against $from_color; worse: $($auto_rollback && echo 'back by itself' || echo 'said, not undone')
  7 scale down  deployment/$candidate to 0 replicas
PLAN
}

main() {
  read_arguments "$@"
  precheck
  if $dry_run; then
    clean_up() { :; }
    orient
    plan
    return
  fi
  take_lease
  orient
  case $phase in
    rolling-back) roll_back ;;
    switching) ;;
    watching) ;;
    *)
      keep version "$version" phase started started "$started" from-image "$from_image" from-color "$from_color"
      backup
      deploy_candidate
      validate
      ;;
  esac
  [[ $phase == watching ]] || switch_traffic
  watch_it
  finish
}

main "$@"
