rule profile_target:
    input:
        teacher=TEACHER,
        text=get_train_text,
    output:
        layers=f"{RESULTS}/costs/{{target}}.csv",
    log:
        f"{LOGS}/profile_target/{{target}}.log",
    benchmark:
        f"{JOBS}/profile_target/{{target}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=get_cost_settings,
        code=get_code("profile-target"),
        config=get_config_file,
    message:
        "Parameters and multiply-accumulates of {wildcards.target}"
    shell:
        "python -m opentrans profile-target --config {params.config} --target {wildcards.target}"
        " --teacher {input.teacher} --train-text {input.text} --output {output.layers} > {log} 2>&1"


rule count_costs:
    input:
        profile=f"{RESULTS}/costs/{{target}}.csv",
        densities=f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/layers.csv",
        plan=get_plan,
    output:
        costs=f"{RESULTS}/costs/{RUN}/costs.json",
    log:
        f"{LOGS}/count_costs/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.log",
    benchmark:
        f"{JOBS}/count_costs/{{target}}_{{subnetwork}}_{{freeze}}_seed{{seed}}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_target_settings,
        code=get_code("count-costs"),
        plan=get_plan_option,
        config=get_config_file,
    message:
        "Costs of {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans count-costs --config {params.config} --target {wildcards.target}"
        " --subnetwork {wildcards.subnetwork} --freeze {wildcards.freeze} --seed {wildcards.seed}"
        " --profile {input.profile} --densities {input.densities} {params.plan} --output {output.costs} > {log} 2>&1"
