import copy, json, math
import pytest, torch
import mtl
from mtl import hookimpl
from mtl.config.load import load_config
from mtl.errors import MtlError
from mtl.prepare import make_training, prepare
import mtl.api

def task(config, name):
    [s] = config["tasks"][name].values()
    return s

class W:
    def __init__(self): self.calls=[]
    @hookimpl
    def mtl_evaluated(self, step, epoch, tasks, best, selection): self.calls.append((step,selection,best,list(tasks)))
    @hookimpl
    def mtl_run_started(self, folder, config, plan): self.plan=plan

def test_metric_of_phase(tiny, tmp_path, plugins):
    w=W()
    tiny["trainer"]={}
    tiny["phases"]=[{"tasks":["LM"],"epochs":1,"freeze":["LSTM"]},{"tasks":["SST2"],"epochs":1}]
    r=mtl.train(tiny, output=tmp_path/"r", watchers=[w])
    print(w.calls); print(w.plan["parameters"], w.plan["schedule"]["phases"][0]["frozen"])
    print(mtl.api.plan(tiny)["parameters"])
    print(json.dumps(r.data,indent=1))

def test_late_frozen(tiny, tmp_path):
    tiny["trainer"]={}
    tiny["phases"]=[{"tasks":["LM"],"epochs":1},{"tasks":["SST2"],"epochs":1,"freeze":["SST2"]}]
    with pytest.raises(MtlError) as e: mtl.train(tiny, output=tmp_path/"r")
    print(e.value, (tmp_path/"r").exists())

def test_linear(tiny, tmp_path):
    tiny["trainer"]={"report_every_steps":1}
    tiny["phases"]=[{"steps":5},{"epochs":1,"schedule":{"RoundRobin":{"epoch":"all"}},"lr_scheduler":"Linear"}]
    mtl.train(tiny, output=tmp_path/"r")
    for l in (tmp_path/"r/metrics.jsonl").read_text().splitlines():
        d=json.loads(l)
        if d["kind"]=="train": print(d["step"],d["phase"],d["lr"])

def test_noeval(tiny, tmp_path, capsys):
    tiny["trainer"]={"early_stop_after":1,"lr_scheduler":"ReduceOnPlateau"}
    for n in tiny["tasks"]:
        s=task(tiny,n); s["data"].pop("eval_path"); s["early_stop_after"]=1
    tiny["schedule"]={"Dynamic":{"goals":{"SST2":0.9}}}
    tiny["trainer"]["epochs"]=2
    p=mtl.api.plan(tiny); print(p["notices"],p["warnings"])
    r=mtl.train(tiny, output=tmp_path/"r"); print(r.data["best"])

def test_resume_annealed(tiny, tmp_path):
    tiny["trainer"]["epochs"]=2
    tiny["schedule"]={"Annealed":{"start":{"LM":4.0},"end":{"LM":0.1}}}
    tiny.pop("target_task")
    mtl.train(tiny, output=tmp_path/"r")
    tiny["trainer"]["epochs"]=4
    try:
        mtl.train(tiny, output=tmp_path/"r",resume=True); print("went on")
    except MtlError as e: print("refused",e)

def test_lr_factor_alone(tiny, tmp_path):
    tiny["trainer"]={}
    task(tiny,"LM")["lr_factor"]=.5
    tiny["phases"]=[{"tasks":["LM"],"epochs":1},{"tasks":["SST2"],"epochs":1,"schedule":"Joint"}]
    mtl.train(tiny, output=tmp_path/"r")

def test_sgd_groups_resume(tiny,tmp_path):
    pass

def test_hostile(tiny,tmp_path):
    import shutil, traceback
    from mtl.files import write_manifest
    from mtl.api import Interrupted
    import signal
    class Stop:
        @hookimpl
        def mtl_step_ended(self, step):
            if step==8: signal.raise_signal(signal.SIGINT)
    tiny["trainer"]={"average_decay":.9,"report_every_steps":3}
    tiny["phases"]=[{"steps":5},{"steps":9,"schedule":{"Dynamic":{"goals":{"SST2":.9},"epoch":"steps","epoch_steps":2}}}]
    with pytest.raises(Interrupted): mtl.train(tiny, output=tmp_path/"r",watchers=[Stop()])
    junk=[None,"x",-5,3,10**9,2.5,float("nan"),[],{}, [1],{"a":1},True]
    def change(path,value):
        f=tmp_path/"c"; shutil.rmtree(f,ignore_errors=True); shutil.copytree(tmp_path/"r",f)
        [cp]=(f/"checkpoints").glob("step-*")
        s=json.loads((cp/"state.json").read_text()); d=s
        for p in path[:-1]: d=d[p]
        d[path[-1]]=value
        (cp/"state.json").write_text(json.dumps(s)); (cp/"manifest.json").unlink(); write_manifest(cp)
        try: mtl.train(tiny,output=f,resume=True); return None
        except MtlError as e: return None
        except BaseException as e:
            tb=traceback.extract_tb(e.__traceback__)[-1]
            return f"{path} = {value!r:.30}: {type(e).__name__}: {e} @ {tb.filename.split('/')[-1]}:{tb.lineno}"
    T=["training"]
    paths=[T+["phase"],T+["phase","index"],T+["phase","step"],T+["phase","epoch"],T+["phase","places"],T+["phase","places","SST2"],T+["evaluations"],T+["best_value"],T+["best"],T+["best","step"],T+["best","epoch"],T+["best","value"],T+["best","figures"],T+["stopped_early"],T+["epoch"],T+["step"],T+["evaluations_without_improvement"],T+["seconds"]]
    S=T+["tasks","SST2"]
    paths+=[S+[k] for k in ("steps","batches","rows","tokens","seconds","skipped","pass_index","batch","rows_in_pass","best","stale_evaluations","stopped_at","scores","time","reported")]
    base=json.loads(next((tmp_path/"r/checkpoints").glob("step-*/state.json")).read_text())
    print({k:(v if k!="tasks" else v["SST2"]) for k,v in base["training"].items()})
    if base["training"]["best"] is None: print("best none")
    bad=[]
    for p in paths:
        for v in junk:
            try: r=change(p,v)
            except (KeyError,TypeError) as e: r=None; print("skip",p,e)
            if r: print(r)
    for v in ([-1,0],[0,-3],[0,10**9],[10**12,0],[0],["a",1],[[],{}]):
        r=change(T+["phase","places","SST2"],v)
        if r: print(r)
    for v in ([[1,float("nan")]],[[-1,5.0]],[[1,10**400]],[[1]]):
        r=change(S+["scores"],v)
        if r: print(r)
    for v in ({"SST2":5},{"SST2":None},{"X":{}},[1]):
        r=change(T+["best"],{"step":1,"epoch":1,"value":.5,"figures":v})
        if r: print(r)
