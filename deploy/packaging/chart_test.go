package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../helm/imagetier"

// serviceMonitor is what the chart uses of the Prometheus Operator's type.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port        string              `json:"port"`
			Path        string              `json:"path"`
			Interval    string              `json:"interval"`
			Relabelings []map[string]string `json:"relabelings"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// kinds are the types that manifests are decoded into.
var kinds = map[string]func() any{
	"v1 Service":                              func() any { return new(corev1.Service) },
	"apps/v1 StatefulSet":                     func() any { return new(appsv1.StatefulSet) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"networking.k8s.io/v1 Ingress":            func() any { return new(networkingv1.Ingress) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(serviceMonitor) },
}

// decode decodes manifests strictly: an unknown or repeated field is an error.
func decode(t *testing.T, manifests string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, text := range regexp.MustCompile(`(?m)^---\s*$`).Split(manifests, -1) {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if meta.Kind == "" {
			continue // only comments
		}
		newObject := kinds[meta.APIVersion+" "+meta.Kind]
		if newObject == nil {
			t.Fatalf("kind %s %s is not expected", meta.APIVersion, meta.Kind)
		}
		object := newObject()
		if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
			t.Errorf("%s %s: %v\n%s", meta.Kind, meta.Name, err, text)
		}
		all[meta.Kind+" "+meta.Name] = object
	}
	return all
}

// render returns what helm template renders with these values, after helm lint.
func render(t *testing.T, values string) (manifests string, err error) {
	t.Helper()
	helm := os.Getenv("HELM")
	if helm == "" {
		t.Skip("HELM is not set: make test-release sets it")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), helm, append(args, "--values", file)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, out, &stderr)
		}
		return string(out), err
	}
	if manifests, err = run("template", "photos", chart, "--kube-version", "1.30.0"); err != nil {
		return "", err
	}
	if _, err := run("lint", "--strict", chart); err != nil {
		t.Error(err)
	}
	return manifests, nil
}

const (
	single = "settings: {source: 'posts=s3://photos/feed?region=eu-central-1'}\n"
	fleet  = `replicas: 3
settings: {source: 'posts=s3://photos/feed?region=eu-central-1', derived: 's3://derived/tier?region=eu-central-1'}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
ingress: {enabled: true, tlsSecretName: img-tls}
podAnnotations: {a: b}
nodeSelector: {disk: nvme}
tolerations: [{key: disk, operator: Exists}]
storage: {className: fast}
serviceAccount: {name: photos}
imagePullSecrets: [{name: registry}]
`
)

func TestChart_SingleNode(t *testing.T) {
	text, err := render(t, single)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, text)
	if len(all) != 4 || all["NetworkPolicy photos"] == nil || all["Service photos"] == nil {
		t.Errorf("%d objects: a single node has a set, two services and a policy\n%s", len(all), text)
	}
	checkSet(t, all["StatefulSet photos"].(*appsv1.StatefulSet), 1)
}

func TestChart_Fleet(t *testing.T) {
	text, err := render(t, fleet)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, text)
	set := all["StatefulSet photos"].(*appsv1.StatefulSet)
	checkSet(t, set, 3)
	if pod := set.Spec.Template.Spec; pod.NodeSelector["disk"] != "nvme" || len(pod.Tolerations) != 1 ||
		pod.ServiceAccountName != "photos" || len(pod.ImagePullSecrets) != 1 ||
		*set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName != "fast" {
		t.Errorf("values are not used: %+v", pod)
	}
	if b := all["PodDisruptionBudget photos"].(*policyv1.PodDisruptionBudget); b.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("disruption budget %+v", b.Spec)
	}
	policy := all["NetworkPolicy photos"].(*networkingv1.NetworkPolicy).Spec
	if len(policy.Ingress) != 2 || policy.Ingress[0].Ports[0].Port.StrVal != "http" || policy.Ingress[0].From != nil ||
		policy.Ingress[1].Ports[0].Port.StrVal != "private" || len(policy.Ingress[1].From) != 2 {
		t.Errorf("the private port is open, or the public one closed: %+v", policy)
	}
	nodes := all["Service photos-nodes"].(*corev1.Service)
	monitor := all["ServiceMonitor photos"].(*serviceMonitor)
	if nodes.Spec.ClusterIP != "None" || set.Spec.ServiceName != nodes.Name ||
		monitor.Labels["release"] != "prometheus" ||
		!slices.ContainsFunc(nodes.Spec.Ports, func(p corev1.ServicePort) bool {
			return p.Name == monitor.Spec.Endpoints[0].Port
		}) {
		t.Errorf("service %+v, monitor %+v", nodes.Spec, monitor.Spec)
	}
	for _, labels := range []map[string]string{set.Spec.Template.Labels, nodes.Labels} {
		for key, value := range monitor.Spec.Selector.MatchLabels {
			if labels[key] != value {
				t.Errorf("label %s is %q, the selector wants %q", key, labels[key], value)
			}
		}
	}
	ingress := all["Ingress photos"].(*networkingv1.Ingress).Spec
	if ingress.Rules[0].HTTP.Paths[0].Backend.Service.Name != nodes.Name || ingress.TLS[0].SecretName != "img-tls" {
		t.Errorf("ingress %+v", ingress)
	}
}

// checkSet checks what keeps a pod from doing too much, or from writing its volume.
func checkSet(t *testing.T, set *appsv1.StatefulSet, replicas int32) {
	t.Helper()
	pod := set.Spec.Template.Spec
	of, c := pod.SecurityContext, pod.Containers[0]
	if *set.Spec.Replicas != replicas || *pod.TerminationGracePeriodSeconds != 40 {
		t.Errorf("%d replicas, grace %d s", *set.Spec.Replicas, *pod.TerminationGracePeriodSeconds)
	}
	if !*of.RunAsNonRoot || *of.RunAsUser != 10001 || *of.FSGroup != 10001 ||
		of.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken ||
		*c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem ||
		!slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the pod may do too much, or cannot write its volume: %+v %+v", of, c.SecurityContext)
	}
	if r := c.Resources; r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
		t.Errorf("resources %+v", c.Resources)
	}
	environ := map[string]string{}
	for _, e := range c.Env {
		environ[e.Name] = e.Value
	}
	if environ["IMAGETIER_SOURCE"] != "posts=s3://photos/feed?region=eu-central-1" ||
		environ["IMAGETIER_WORKERS"] != "2" ||
		c.EnvFrom[0].SecretRef.Name != "imagetier" || c.Image != "imagetier:0.1.0" {
		t.Errorf("image %s, environment %v", c.Image, environ)
	}
	for name := range environ { // an unknown variable keeps the tier from starting
		settings, err := os.ReadFile("../../docs/operate/configuration.md")
		if err != nil {
			t.Fatal(err)
		}
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "IMAGETIER_"), "_", "-"))
		if !bytes.Contains(settings, []byte("`--"+flag+" ")) {
			t.Errorf("%s is not a setting", name)
		}
	}
}

func TestChart_FleetWithoutDerived_Fails(t *testing.T) {
	if text, err := render(t, "replicas: 2\n"); err == nil || !strings.Contains(err.Error(), "needs settings.derived") {
		t.Errorf("%v\n%s", err, text)
	}
}

// The plain manifests, too, have no field that Kubernetes does not know.
func TestManifests_Strict(t *testing.T) {
	text, err := os.ReadFile("../kubernetes/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if all := decode(t, string(text)); len(all) != 4 {
		t.Errorf("%d objects in fleet.yaml, want 4", len(all))
	}
}
