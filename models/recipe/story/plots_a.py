"""The first five plots: lost, stuck, broken, quarrel and finder.

A plot is its paragraphs, each a list of (beat, chance to be told), and its questions as (question, answer, key slots): the
key slots are what a right answer must contain, and they must have been told.
"""

from . import beats as b

CAUSES = {  # how the thing got lost: kinds of thing it fits | hint | reveal | because | lesson
    "hole": ("|{He} kept it in {his} old [bag|coat|pocket].|"
             "There was a hole in {his} [old|worn] [bag|coat|pocket]. The {obj} had [slipped|fallen] [out|right through].|"
             "there was a hole in {his} bag|to mend a small hole before it grows"),
    "wind": ("l|A strong wind was blowing {at}.|The [strong|wild|naughty] wind had [carried|blown] the {obj} there.|"
             "the wind had blown it away|to hold on tight when the wind blows"),
    "magpie": ("s|A [black and white|noisy|bold] magpie was [sitting|hopping] near the door.|"
               "A magpie had taken the {obj} because it [liked|loved] shiny things.|"
               "a magpie had taken it|to keep shiny things inside"),
    "forgot": ("|On the way, {he} stopped to {task}.|{Hn} had put the {obj} down to {task}, and then forgotten it.|"
               "{he} had put it down and forgotten it|to put things back in their place"),
    "puppy": ("|The neighbour's [young|silly|jolly] dog was [barking|digging] in the garden.|"
              "The neighbour's dog had [hidden|dropped] the {obj} there.|"
              "the neighbour's dog had hidden it|to look before {he} worried"),
    "cousin": ("|{His} little cousin had come to [stay|play|visit].|"
               "{His} little cousin had [borrowed|played with] the {obj} and left it there.|"
               "{his} cousin had left it there|to ask before getting cross"),
    "roll": ("r|The path {at} was very steep.|"
             "The {obj} had rolled [down the path|away|down the steep path] all by itself.|"
             "it had rolled away|to watch round things on steep paths"),
}

LOST = {
    "ask": ["a {kind} and a lost {obj}", "a {trait} {kind} and a lost {obj}", "a {kind} who loses {aobj}", "a lost {obj}",
            "a {kind} called {Hn} who lost {his} {obj}"],
    "trouble": "I have lost my [{look}|] {obj}|My {obj} is gone|I cannot find my [{look}|] {obj}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .5), (b.TREASURE, 1), (b.USE, .4)],
        [(["{day}, {Hn} went for a walk {at}.", "{day}, {Hn} took {hisobj} and {ran} to the {place}.",
           "{day}, {Hn} packed some {food} and [went|set off] to the {place}.",
           "{day}, the {animalsound}, and {Hn} [went out|played] {at}."], 1),
         (["{hint}"], 1),
         (["But when {he} [looked|reached] for {hisobj}, it was gone!", "When {he} got home, the {obj} was [gone|not there].",
           "Suddenly {he} stopped. Where was {hisobj}? It was [gone|lost]!",
           "Then {he} saw that {hisobj} was [lost|missing|gone].",
           "At supper time, {he} could not find {theobj}[ anywhere|]."], 1), (b.FEEL_BAD, 1)],
        [(["{Hn} looked {spot2}, but there was only {junk}.",
           "First {he} looked {spot2}. [No {obj}|It was not there|Nothing]!",
           "{He} searched {spot2} and found {junk}, but no {obj}."], .8),
         (["Then {he} looked {spot3}, but [it was not there|{he} found nothing|that was empty].",
           "{He} also [peeked|looked] {spot3}, but there was [nothing|no {obj}|only {junk}]."], .5),
         (b.MEET, 1), (b.ASK, .8), (b.TELL, 1), (b.OFFER, .7),
         (["\"Where did you [last have|last see|have] it?\" asked {F}. \"{At},\" said {H}.",
           "\"Let us [go back|look again] step by step,\" said {F}.",
           "\"I [saw|heard] something {spot},\" said {F}. \"Come and look!\"",
           "\"We must look [low and high|slowly|with sharp eyes],\" {said} {F}."], .7)],
        [(["Together they looked {spot}, and there was the {obj}!",
           "{Fn} looked {spot}. \"[Here it is|I see it|Look]!\" {fhe} [cried|called]. {Fhe} had found the {look} {obj}.",
           "They [searched|looked] and [searched|looked]. At last {Fn} found the {obj} {spot}.",
           "There, {spot}, lay the {look} {obj}! {Fn} had found it."], 1),
         (["{reveal}"], 1), (b.THANKS, 1), (b.GLAD, .4)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What did {Hn} lose?", "{Hn} lost {his} {obj}.", ["obj"]),
        ("Where was the {obj}?", "The {obj} was {spot}.", ["spot"]),
        ("Who helped {Hn}?", "{Fn} the {fkind} helped {Hn}.", ["Fn"]),
        ("Who found the {obj}?", "{Fn} the {fkind} found the {obj} with {Hn}.", ["Fn"]),
        ("Why was the {obj} lost?", "The {obj} was lost because {because}.", ["because"])],
}

STUCK = {
    "ask": ["a {kind} and a stuck {obj}", "a {kind} and a {obj} in a high place", "a {kind} whose {obj} gets stuck",
            "a {obj} that is stuck"],
    "trouble": "My {obj} is stuck {high}|I cannot reach my {obj}|My {obj} is {high}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .5), (b.TREASURE, 1), (b.USE, .4)],
        [(["{day}, {Hn} [played|ran|danced] {at} with {hisobj}.", "{day}, {Hn} wanted to {use}.",
           "{day}, {Hn} took {hisobj} to the {place}."], 1),
         (["{causeline}"], 1), (["Now the {obj} was stuck {high}.", "There it was, {high}, and {he} could not reach it.",
           "The {obj} landed {high} and stayed there.", "And so {hisobj} got stuck {high}!"], 1), (b.FEEL_BAD, .9)],
        [(["{Hn} [jumped|hopped] and [jumped|hopped], but it was too high.",
           "{He} [threw a stick|shook it|pushed], but the {obj} did not move.",
           "{He} tried to climb, but {he} slipped and fell [into a {b_look} bush|on {his} tail|in the mud|with a bump].",
           "\"Come down!\" {he} [shouted|called], but the {obj} stayed where it was."], 1),
         (b.MEET, 1), (b.ASK, .7), (b.TELL, 1), (b.OFFER, .8)],
        [(["{Fn} [brought|fetched|got] {tool}.", "{Fn} ran home and came back with {tool}.",
           "\"Wait here,\" said {F}, and soon {fhe} came back with {tool}."], 1),
         (["With {tool}, they [slowly|carefully|bravely] got the {obj} down.",
           "{Hn} held it steady while {Fn} [pulled|reached], and down came the {look} {obj}!",
           "It was hard work, but {Fn} used {tool}, and [soon|at last] the {obj} was down."], 1), (b.THANKS, 1),
         (b.GLAD, .4)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("Where was the {obj} stuck?", "The {obj} was stuck {high}.", ["high"]),
        ("Who helped {Hn}?", "{Fn} the {fkind} helped {Hn}.", ["Fn"]),
        ("What did {Fn} use to get the {obj}?", "{Fn} used {tool}.", ["tool"]),
        ("What got stuck?", "{Hn}'s {obj} got stuck.", ["obj"]),
        ("Why did the {obj} get stuck?", "The {obj} got stuck because {because}.", ["because"])],
}

BROKEN = {
    "ask": ["a {kind} and a broken {obj}", "a {trait} {kind} and a broken {obj}", "a {kind} who breaks {aobj}",
            "a broken {obj}"],
    "trouble": "My {obj} is broken|I have broken my [{look}|] {obj}|I broke the {obj} that my {giver} gave me",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .5), (b.TREASURE, 1), (b.USE, .5)],
        [(["{day}, {Hn} [was playing|was {at}|wanted to {use}].", "{day}, {Hn} took {hisobj} to the {place}."], 1),
         (["{causeline}"], 1),
         (["[Oh dear|Crack|Snap|Bump]! With the {obj}, it went badly: {broke}.",
           "[Crack|Snap|Bang]! The {obj} was broken: {broke}.",
           "There was a loud noise. {Broke}, and the {obj} was broken."], 1), (b.FEEL_BAD, 1)],
        [(["{Hn} tried to [fix|mend] it [alone|with [mud|honey|grass|sticky jam]], but it [fell apart|did not hold|"
           "was too hard].",
           "{He} tried to [fix|mend] it all {time}, but {he} did not know how.",
           "{He} wanted to [hide|throw away] the broken {obj}, but {he} could not."], .8),
         (b.MEET, 1), (b.ASK, .7), (b.TELL, 1), (b.OFFER, .8)],
        [(["{Fn} took the {obj} in {fhis} [hands|arms|lap] and looked at it. Then {fhe} {fix}.",
           "With {fhis} [clever|steady|careful] hands, {Fn} {fix}.",
           "{Hn} held the {obj} still, and {Fn} {fix}.", "It took [an hour|all {time}|a long time], but {Fn} {fix}."], 1),
         (["Now the {obj} was [as good as new|better than before|whole again].",
           "\"There,\" said {F}. \"Now your {obj} is [mended|as good as new].\"",
           "{Hn} tried it at once. {He} could {use} again!"], 1), (b.THANKS, 1), (b.GLAD, .4)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What broke?", "{Hn}'s {obj} broke.", ["obj"]),
        ("Who mended the {obj}?", "{Fn} the {fkind} mended the {obj}.", ["Fn"]),
        ("Who helped {Hn}?", "{Fn} the {fkind} helped {Hn}.", ["Fn"]),
        ("How did {Fn} mend the {obj}?", "{Fn} {fix}.", ["fix"]),
        ("Why did the {obj} break?", "The {obj} broke because {because}.", ["because"])],
}

QUARREL = {
    "ask": ["a {kind} and a {fkind} who both want {aobj}", "a {kind} who learns to share {his} {obj}",
            "two friends and {aobj}"],
    "trouble": "It is mine",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .5),
         (["{His} best friend was a {ftrait} {fkind} [named|called] {Fn}.",
           "{He} often played with {Fn}, a {ftrait} {fkind}.", "Next door lived {Fn}, a {ftrait} {fkind}."], 1)],
        [(["{day}, the two friends found {aobj} {spot}.", "{day}, {Hn} and {Fn} were {at}. There, {spot}, lay {aobj}!",
           "{day}, they [looked|peeked] {spot} and saw {aobj}."], 1),
         (["\"I saw it first!\" [cried|said] {Hn}. \"No, I did!\" [cried|said] {Fn}.",
           "\"It is mine!\" [shouted|said] {Hn}. \"No, the {obj} is mine!\" [shouted|said] {Fn}.",
           "\"I want to {use},\" said {Hn}. \"But I want the {obj} too!\" said {Fn}."], 1),
         (["They pulled and pulled, and {Hn} [fell over|sat down hard|bumped {his} nose].",
           "They [shouted|argued] until the {animalsound} no more.",
           "They [argued|quarrelled] so loudly that {junk} [fell|ran] off a {a_look} wall."], .8),
         (["{Fn} went home [cross|without a word|in tears].", "{Fn} turned away and did not [speak|smile|look back]."], 1)],
        [(["Now {Hn} had the {obj} all alone. {He} tried to {use}, but it was no fun.",
           "{Hn} [sat|stayed] {at} with the {look} {obj}, but {he} felt [lonely|empty|bad|sorry].",
           "All {time}, {Hn} had the {obj} to {himself}, and {he} was bored."], 1),
         (["\"A friend is [better|worth more] than a {obj},\" {he} thought.",
           "\"What good is a {obj} without {Fn}?\" {he} asked.",
           "{He} missed {Fn} and {fhis} [jokes|songs|laugh|funny stories]."], 1)],
        [(["So {Hn} {ran} to {Fn}'s house. \"I am sorry,\" {he} said. \"Let us share the {obj}.\"",
           "Then {he} took the {obj} to {Fn}. \"[Please forgive me|I am sorry]. It can be ours,\" {he} said.",
           "Early the next day, {Hn} knocked on {Fn}'s door and held out the {look} {obj}. \"You first,\" {he} said."], 1),
         (["{Fn} smiled. \"I am sorry too,\" {fhe} said.",
           "\"[Oh, thank you|Yes, let us share]!\" said {F}. \"You first, and then I.\"",
           "{Fn} hugged {him}. \"We can {use} together,\" {fhe} said."], 1), (b.GLAD, .7)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What did {Hn} and {Fn} find?", "They found {aobj}.", ["obj"]),
        ("Where was the {obj}?", "The {obj} was {spot}.", ["spot"]),
        ("Who was {Hn}'s friend?", "{Hn}'s friend was {Fn} the {fkind}.", ["Fn"]),
        ("Who said sorry first?", "{Hn} said sorry first.", ["Hn"]),
        ("Why did the friends quarrel?", "They quarrelled because both wanted the {obj}.", ["obj"])],
}

FINDER = {
    "ask": ["a {kind} who finds {aobj}", "a {kind} and a [found|forgotten] {obj}", "a {kind} who gives back a {obj}",
            "an honest {kind} and a {obj}"],
    "trouble": "I found this {look} {obj}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .8)],
        [(["{day}, {Hn} {ran} along the path {at}.", "{day}, {Hn} was {at}, because {he} wanted to {smalltask}.",
           "{day}, {Hn} stopped to {smalltask} {at}."], 1),
         (["There, {spot}, {he} found {aobj}.", "Something lay {spot}. It was {aobj}!", "{He} looked {spot} and saw {aobj}."],
          1),
         (["\"How [lovely|nice|fine]!\" said {H}. \"With this {obj} I could {use}.\"",
           "{He} [picked it up|held it tight] and wanted to keep it.",
           "Nobody was there to see {him}. {He} could keep the {obj}."], 1),
         (["But then {he} thought, \"Somebody must [miss|be looking for] this {obj}.\"",
           "But it was not {his}, and {he} knew it.",
           "But a small voice inside {him} said, \"It is not yours.\""], 1)],
        [(["{He} asked [a {a_look} toad|an old crow|the miller|the baker|a passing goose|two ants], but it was not theirs.",
           "{He} knocked on many doors. \"Is this your {obj}?\" {he} asked. \"No,\" they all said.",
           "{He} [asked|looked] everywhere {at}, but nobody knew the {obj}."], .9),
         (["Then {he} saw a {ftrait} {fkind} who was crying. {Fhis} name was {Fn}.",
           "At last {he} came to {Fn}, a {ftrait} {fkind}, who was looking {spot2}.",
           "Behind the last house, {he} met {Fn}, a {ftrait} {fkind} with tears in {fhis} eyes."], 1),
         (["\"I lost the {obj} that my {giver} gave me,\" said {F}.",
           "\"My {look} {obj} is gone,\" {said} {F}. \"Now I cannot {use}.\"",
           "\"I have looked for my {obj} all day,\" said {F}."], 1)],
        [(["{Hn} held out the {obj}. \"Is this yours?\" {he} asked.",
           "\"Here is your {obj},\" said {H}. \"I found it {spot}.\"",
           "\"Look what I found,\" said {H}, and gave {fhim} the {look} {obj}."], 1),
         (["{Fn} [jumped|danced] for joy. \"[Thank you|You are so honest], {Hn}!\"",
           "\"My {obj}!\" cried {F}. \"Thank you, thank you!\"", "{Fn} was {glad} and hugged {Hn}[ with both arms| tight|]."],
          1),
         (["\"Come and {use} with me,\" said {F}.", "{Fn} gave {him} some {food} to say thank you.",
           "\"You can share the {obj} with me,\" said {F}."], .8)],
        [(b.LESSON, .6), (b.FAR_ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What did {Hn} find?", "{Hn} found {aobj}.", ["obj"]),
        ("Where did {Hn} find the {obj}?", "{Hn} found the {obj} {spot}.", ["spot"]),
        ("Whose {obj} was it?", "It was {Fn}'s {obj}.", ["Fn"]),
        ("Who found the {obj}?", "{Hn} the {kind} found the {obj}.", ["Hn"]),
        ("What did {Hn} do with the {obj}?", "{Hn} gave the {obj} back to {Fn}.", ["Fn"])],
}
