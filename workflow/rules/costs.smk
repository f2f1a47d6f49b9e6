rule profile_target:
    input:
        teacher=FILES.get_results(FILES.worlds[0]).teacher,
        text=FILES.get_profiled_text,
    output:
        layers=PROFILE.profile(),
    log:
        PROFILE.log("profile_target/{target}"),
    benchmark:
        PROFILE.job("profile_target/{target}")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=describe("targets.{target}", "costs"),
        code=hash_sources("profile-target"),
        config=get_config_file,
    message:
        "Parameters and multiply-accumulates of {wildcards.target}"
    shell:
        "python -m opentrans profile-target --config {params.config:q} --target {wildcards.target:q}"
        " --teacher {input.teacher:q} --train-text {input.text:q} --output {output.layers:q} > {log:q} 2>&1"


rule count_costs:
    input:
        profile=PROFILE.profile(),
        densities=RESULTS.layers(),
        plan=FILES.get_plan,
    output:
        costs=RESULTS.costs(),
    log:
        RESULTS.log(f"count_costs/{RUN_JOB}"),
    benchmark:
        RESULTS.job(f"count_costs/{RUN_JOB}")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=describe("targets.{target}", "threads.run", "device", "data"),
        code=hash_sources("count-costs"),
        plan=make_options(plan="--plan"),
        config=get_config_file,
    message:
        "Costs of {wildcards.target}: {wildcards.subnetwork}, freeze {wildcards.freeze}, seed {wildcards.seed}"
    shell:
        "python -m opentrans count-costs --config {params.config:q} --target {wildcards.target:q}"
        " --subnetwork {wildcards.subnetwork:q} --freeze {wildcards.freeze:q} --seed {wildcards.seed:q}"
        " --profile {input.profile:q} --densities {input.densities:q} {params.plan:q} --output {output.costs:q} > {log:q} 2>&1"
